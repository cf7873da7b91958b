"""Variables and the other references of a bundle (docs/semantics.md, section 1)."""

from __future__ import annotations

import resource

import pytest
from bundled import LAYERS, bundle, faults, job, one

from wfengine.errors import JobFileError
from wfengine.jobfile import read


@pytest.fixture(autouse=True)
def user(monkeypatch):
    monkeypatch.setenv("LOGNAME", "ann.lee@shop.example")


def config(folder, text, more="", target=None, **variables):
    """Return the config of the only task."""
    return job(folder, one(text, more), target=target, variables=variables).tasks[0].config


VALUES = """\
variables:
  x: {default: from default}
targets:
  dev: {variables: {x: from target}}
"""


def test_a_variable_takes_what_is_given_then_the_environment_then_the_target_then_the_default(tmp_path, monkeypatch):
    text = "{text: '${var.x}'}"
    assert config(tmp_path, text, VALUES.partition("targets")[0]) == {"text": "from default"}
    assert config(tmp_path, text, VALUES) == {"text": "from target"}
    monkeypatch.setenv("BUNDLE_VAR_x", "from environment")
    assert config(tmp_path, text, VALUES) == {"text": "from environment"}
    assert config(tmp_path, text, VALUES, x="given") == {"text": "given"}


@pytest.mark.parametrize("said", ["{x: v}", "{x: {default: v}}", "{x: {default: v, description: d}}"])
def test_a_target_says_a_value_alone_or_as_a_default(tmp_path, said):
    more = f"variables: {{x: }}\ntargets: {{dev: {{variables: {said}}}}}\n"
    assert config(tmp_path, "{text: '${var.x}'}", more) == {"text": "v"}


def test_variables_may_refer_to_variables_and_stand_in_the_middle_of_text(tmp_path):
    more = "variables:\n  a: {default: '<${var.b}-${var.b}>'}\n  b: {default: '${var.c}'}\n  c: {default: 5}\n"
    assert config(tmp_path, "{text: 'x${var.a}y', number: '${var.c}'}", more) == {"text": "x<5-5>y", "number": 5}


def test_a_complex_value_is_inserted_whole_and_its_parts_can_be_named(tmp_path):
    more = """\
variables:
  all:
    type: complex
    default: {list: [a, "${var.one}"], deep: {n: 7}}
  same: {type: complex, default: "${var.all}"}
  one: {default: b}
"""
    text = (
        "{anything: '${var.all}', names: '${var.same.list}', number: '${var.all.deep.n}', text: '${var.all.list[1]}!'}"
    )
    assert config(tmp_path, text, more) == {
        "anything": {"list": ["a", "b"], "deep": {"n": 7}},
        "names": ["a", "b"],
        "number": 7,
        "text": "b!",
    }


def test_a_complex_value_of_a_target_takes_the_place_of_the_default(tmp_path):
    """Databricks replaces the value of a variable and does not merge it."""
    more = (
        "variables: {x: {type: complex, default: {a: 1}}}\ntargets: {dev: {variables: {x: {b: 2}}}}\n"  # the only one
    )
    assert config(tmp_path, "{anything: '${var.x}'}", more) == {"anything": {"b": 2}}


def test_a_whole_list_of_tasks_may_be_a_variable(tmp_path):
    files = """\
bundle: {name: shop}
variables:
  k: {default: key}
  tasks:
    type: complex
    default: [{task_key: "${var.k}", echo_task: {text: "${bundle.name}"}, existing_cluster_id: "${var.nothing}"}]
resources: {jobs: {a: {tasks: "${var.tasks}"}}}
"""
    (task,) = job(tmp_path, files).tasks
    assert (task.task_key, task.config) == ("key", {"text": "shop"})


def test_what_the_bundle_knows_of_itself_can_be_named(tmp_path):
    texts = {
        "${bundle.name}": "shop",
        "${bundle.target}": "dev",
        "${bundle.environment}": "dev",
        "${workspace.current_user.userName}": "ann.lee@shop.example",
        "${workspace.current_user.short_name}": "ann_lee",
        "${workspace.file_path}/src/x.py": f"{tmp_path}/src/x.py",
        "${workspace.root_path}": str(tmp_path),
        "${workspace.root_path}/files/src/x.py": f"{tmp_path}/src/x.py",
        "/Workspace/${workspace.file_path}/x.py": f"{tmp_path}/x.py",
        "/Workspace${workspace.root_path}/files/x.py": f"{tmp_path}/x.py",
        "${workspace.host}": "https://shop.example",
        "${resources.jobs.daily.id}": "daily",
        "${resources.schemas.s.name}_x": "raw_x",
    }
    more = "targets: {dev: {workspace: {host: 'https://shop.example'}}}\n"
    text = f"{{names: {list(texts)}}}"
    files = one(text, more).replace("  jobs:", "  schemas: {s: {name: raw}}\n  jobs:")
    assert job(tmp_path, files).tasks[0].config == {"names": list(texts.values())}


@pytest.mark.parametrize(
    "text", ["${HOME}", "$HOME ${x}", "${spark.executor.memory}", "${bundle}", "$${", "{{job.id}}", "${}"]
)
def test_what_is_no_reference_of_a_bundle_stays_text(tmp_path, text):
    assert config(tmp_path, f"{{text: '{text}'}}") == {"text": text}


def test_what_is_filled_in_is_not_looked_at_again(tmp_path):
    """C13."""
    more = "variables: {x: {}, y: {default: no}}\n"
    assert config(tmp_path, "{text: 'a${var.x}'}", more, x="${var.y}") == {"text": "a${var.y}"}
    assert config(tmp_path, "{text: '${var.x}'}", more, x="${var.y}") == {"text": "${var.y}"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${var.catlog}", "the variable 'catlog' has no value (did you mean 'catalog'?)"),
        ("${var.zzz}", "the variable 'zzz' has no value (declare zzz below `variables`)"),
        ("${vars.catalog}", "${vars.catalog} names nothing that is known (did you mean 'var'?)"),
        ("${bundle.targt}", "${bundle.targt} names nothing: bundle has no 'targt' (did you mean 'target'?)"),
        ("${workspace.current_user.name}", "${workspace.current_user.name} names nothing: workspace.current_user has no 'name' (did you mean 'userName'?)"),
        ("${resources.jobs.daly.id}", "${resources.jobs.daly.id} names nothing: resources.jobs has no 'daly' (did you mean 'daily'?)"),
        ("${resources.pipelines.p.id}", "${resources.pipelines.p.id} names nothing: resources has no 'pipelines' (known are jobs)"),
        ("${var.catalog.x}", "${var.catalog.x} names nothing: var.catalog has no 'x'"),
        ("${var.wh}", "the variable 'wh' is looked up in a workspace, which has no effect here (give it with --var wh=VALUE or BUNDLE_VAR_wh)"),
        ("${var.empty}", "the variable 'empty' has no value (give it with --var empty=VALUE or BUNDLE_VAR_empty, or give it a `default`)"),
        ("a ${var.many}", "${var.many} is a mapping, which cannot stand inside text"),
        ("${var.many.x[1]}", "${var.many.x[1]} names nothing: var.many.x has no '1'"),
        ("${var.${bundle.target}}", "holds the beginning of a ${var...} reference only (write it as ${a.b}, without blanks and without another reference inside)"),
        ("${ var.catalog }", "holds the beginning of a ${var...} reference only (write it as ${a.b}, without blanks and without another reference inside)"),
        ("${var.typo} and ${var.catalog}", "the variable 'typo' has no value (declare typo below `variables`)"),
    ],
)  # fmt: skip
def test_a_reference_to_nothing_is_a_fault_at_its_place(tmp_path, text, message):
    more = "variables:\n  catalog: {default: main}\n  wh: {lookup: {warehouse: w}}\n  empty: {description: d}\n  many: {type: complex, default: {x: [1]}}\n"
    found = bundle(tmp_path, one(f"{{number: '{text}'}}", more))
    assert faults(found, tmp_path) == [f"databricks.yml:7:31: {message}"]


def test_a_variable_without_value_in_a_field_without_effect_is_no_fault(tmp_path):
    """Most variables of real bundles name clusters and warehouses."""
    files = """\
bundle: {name: shop}
variables: {cluster: {}, wh: {lookup: {warehouse: w}}}
run_as: {service_principal_name: "${var.nobody}"}
resources:
  jobs:
    a:
      job_clusters: [{job_cluster_key: c, new_cluster: "${var.cluster}"}]
      run_as: {user_name: "${var.wh}"}
      tasks:
        - task_key: a
          existing_cluster_id: ${var.cluster}
          notebook_task: {notebook_path: n, warehouse_id: "${var.wh}"}
"""
    assert job(tmp_path, files).tasks[0].config["notebook_path"] == "n"


def test_a_fault_in_a_value_is_told_where_the_reference_stands_and_inside_it_where_it_is_written(tmp_path):
    files = {
        "databricks.yml": one("{number: '${var.n}', names: '${var.list}'}", "include: [v.yml]\n"),
        "v.yml": "variables:\n  n: {default: many}\n  list:\n    type: complex\n    default:\n      - a\n      - {b: c}\n",
    }
    found = bundle(tmp_path, files)
    assert faults(found, tmp_path) == [
        "databricks.yml:7:31: resources.jobs.daily.tasks[0].echo_task.number: should be a whole number",
        "v.yml:7:9: resources.jobs.daily.tasks[0].echo_task.names[1]: should be text, not a mapping",
    ]


@pytest.mark.parametrize(
    ("variables", "cycle"),
    [
        ("a: {default: '${var.a}'}", "var.a -> var.a"),
        ("a: {default: 'x${var.b}'}\n  b: {default: '${var.c}'}\n  c: {default: '${var.a}'}", "var.a -> var.b -> var.c -> var.a"),
        ("a: {type: complex, default: {x: '${var.a.x}'}}", "var.a.x -> var.a.x"),
        ("a: {type: complex, default: {x: ['${var.a}']}}", "var.a -> var.a"),
    ],
)  # fmt: skip
def test_variables_that_name_each_other_are_refused_with_the_cycle(tmp_path, variables, cycle):
    found = bundle(tmp_path, one("{anything: ['${var.a}', '${var.a}']}", f"variables:\n  {variables}\n"))
    (fault,) = found.faults
    assert fault.message == f"references name each other: {cycle}"


def test_a_long_chain_of_variables_has_an_end_without_recursion_limit(tmp_path):
    """C5."""
    chain = "".join(f"  v{n}: {{default: '${{var.v{n + 1}}}'}}\n" for n in range(5000))
    found = bundle(tmp_path, one("{text: '${var.v0}'}", f"variables:\n{chain}  v5000: {{default: x}}\n"))
    assert [fault.message for fault in found.faults] == ["references lead on more than 100 times"]


@pytest.mark.parametrize("default", ["'${var.v1}${var.v1}'", "['${var.v1}', '${var.v1}']"])
def test_variables_that_double_each_other_are_refused(tmp_path, default):
    """C7, written with references."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    lines = "".join(f"  v{n}: {{type: complex, default: {default.replace('v1', f'v{n + 1}')}}}\n" for n in range(40))
    found = bundle(tmp_path, one("{anything: '${var.v0}'}", f"variables:\n{lines}  v40: {{default: lol}}\n"))
    assert [fault.message for fault in found.faults] == ["references stand for more than 250000 values"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 1


def test_values_filled_into_each_other_may_not_nest_without_bound(tmp_path):
    """C8, written with references."""
    deep = "[" * 60 + "'${var.b}'" + "]" * 60
    more = f"variables:\n  a: {{type: complex, default: {deep}}}\n  b: {{type: complex, default: {deep.replace('b', 'c')}}}\n  c: {{default: x}}\n"
    found = bundle(tmp_path, one("{anything: '${var.a}'}", more))
    assert "is nested more than 100 levels deep once its references are filled" in found.faults[0].message


@pytest.mark.parametrize(
    ("more", "variables", "message"),
    [
        ("", {"x": "1"}, "databricks.yml: --var gives a value to 'x', and there is no such variable"),
        ("variables: {xyz: {}}\n", {"xyy": "1"}, "databricks.yml: --var gives a value to 'xyy', and there is no such variable (did you mean 'xyz'?)"),
        ("targets: {dev: {variables: {x: 1}}}\n", {}, "databricks.yml:8:29: x: is given a value by the target, and there is no such variable (declare it below `variables`)"),
        ("variables: {x: {defalt: 1}}\n", {}, "databricks.yml:8:17: variables.x.defalt: is not a known field (did you mean 'default'?)"),
        ("variables: {x: {type: list}}\n", {}, "databricks.yml:8:23: variables.x.type: should be one of complex"),
        ("variables: {x: y}\n", {}, "databricks.yml:8:16: variables.x: should be a mapping"),
        ("variables: {x: {default: [1]}}\n", {}, "databricks.yml:8:26: variables.x: is no text or number (declare it with `type: complex`)"),
        ("variables: {x: {type: complex, default: [1]}}\n", {"x": "2"}, "databricks.yml:8:13: variables.x: the variable 'x' is complex and is given as text (write its value in a file of the bundle)"),
        ("variables: {x: {}}\n", {"x": "\udcff"}, "databricks.yml: the value given for the variable 'x' contains a character that cannot be stored"),
        ("variables: [x]\n", {}, "databricks.yml:8:12: variables: should be a mapping, not a list"),
    ],
)  # fmt: skip
def test_a_variable_that_is_wrong_is_refused(tmp_path, more, variables, message):
    assert faults(bundle(tmp_path, one("{}", more), **variables), tmp_path) == [message]


@pytest.mark.parametrize(
    ("given", "value"), [("5", 5), ("true", True), ("", ""), ("null", "null"), ("~", "~"), ("a b", "a b")]
)
def test_a_value_given_as_text_is_a_number_where_it_looks_like_one_and_never_nothing(tmp_path, given, value):
    more = "variables: {x: {}}\n"
    assert config(tmp_path, "{anything: '${var.x}'}", more, x=given) == {"anything": value}


def test_variables_of_a_single_job_file_are_filled_as_before(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(
        "name: j${var.n}\njob_clusters: ['${var.none}']\n"
        "tasks: [{task_key: a, echo_task: {text: '${HOME} ${bundle.name}', number: '${var.n}'}}]\n"
    )
    found = read(path, LAYERS, root=tmp_path, variables={"n": "5", "unused": "x"}).job
    assert (found.name, found.tasks[0].config) == ("j5", {"text": "${HOME} ${bundle.name}", "number": 5})
    path.write_text("name: x\ntasks: [{task_key: a, echo_task: {number: '${var.m}'}}]\n")
    with pytest.raises(JobFileError) as error:
        read(path, LAYERS, root=tmp_path, variables={"n": "5"})
    expected = f"{path}:2:43: the variable 'm' has no value (give it with --var m=VALUE)"
    assert [str(fault) for fault in error.value.faults] == [expected]
