"""Words of Databricks' Jobs API that mean nothing here, or nothing yet."""

from __future__ import annotations

from wfengine.jobfile.shapes import (
    ContinuousShape,
    EmailShape,
    JobShape,
    ScheduleShape,
    TaskShape,
    TriggerShape,
    WebhooksShape,
)

_NOT_SENT = frozenset({"on_maintenance_complete", "on_maintenance_start", "on_streaming_backlog_exceeded"})

#: Fields that are accepted and have no effect, by the shape they stand in. The last lines of a job's are what
#: ``databricks jobs get`` adds.
IGNORED: dict[type, frozenset[str]] = {
    JobShape: frozenset({
        "access_control_list", "budget_policy_id", "deployment", "duration_target", "edit_mode",
        "environment_variables", "environments", "format", "git_source", "job_clusters", "parent_path",
        "performance_target", "permissions", "run_as", "tags", "usage_policy_id", "webhook_notifications",
        "created_time", "creator_user_name", "effective_budget_policy_id", "effective_usage_policy_id", "has_more",
        "job_id", "job_type", "next_page_token", "run_as_owner", "run_as_user_name", "trigger_details",
        "trigger_history", "trigger_state",
    }),
    TaskShape: frozenset({
        "compute", "disable_auto_optimization", "environment_key", "environment_variables_key",
        "existing_cluster_id", "job_cluster_key", "libraries", "new_cluster", "webhook_notifications",
    }),
    ContinuousShape: frozenset({"maintenance_window"}),
    EmailShape: _NOT_SENT,
    WebhooksShape: _NOT_SENT,
}  # fmt: skip

#: Fields of Databricks' own kinds of task that are accepted and have no effect unless the layer has such a field.
CONFIG_IGNORED = {
    "notebook": frozenset({"source", "warehouse_id"}),
    "spark_python": frozenset({"source"}),
    "sql": frozenset({"warehouse_id"}),
}

#: Fields that hold a path, by kind of task and steps below it: in a bundle it starts at the file it is written in.
PATHS: dict[str, tuple[tuple[str, ...], ...]] = {
    "notebook": (("notebook_path",),),
    "spark_python": (("python_file",),),
    "sql": (("file", "path"),),
    "dbt": (("project_directory",),),
    "bronze": (("source",),),
}

#: Layers that ship with the engine, for the message when one is not there.
BUILT_IN = ("bronze", "silver", "gold", "notebook", "spark_python", "python_wheel", "sql", "python", "shell")

#: Kinds of task that cannot run here, with the reason.
UNSUPPORTED = {
    "spark_jar": "spark_jar_task is not supported yet: it runs JVM code",
    "spark_submit": "spark_submit_task is not supported yet: it runs on a cluster of its own",
    **{
        kind: f"{kind}_task is not supported yet: it needs a service of Databricks"
        for kind in (
            "ai_runtime", "alert", "clean_rooms_notebook", "dashboard", "dbt", "dbt_cloud", "dbt_platform",
            "gen_ai_compute", "pipeline", "power_bi", "python_operator",
        )
    },
}  # fmt: skip

#: Fields whose meaning would be lost if they were ignored, with the reason they are refused.
REFUSED: dict[type, dict[str, str]] = {
    JobShape: {"triggers": "triggers is not supported yet: use trigger"},
    ScheduleShape: {"sql_condition": "sql_condition is not supported yet"},
    TriggerShape: {
        "model": "model triggers are not supported yet: they need a service of Databricks",
        "sql_condition": "sql_condition is not supported yet",
    },
}

#: Kinds of Databricks that a layer of this engine will bring.
OPTIONAL = ("sql", "python_wheel")
