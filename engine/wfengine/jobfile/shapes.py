"""The shape of a job file, field by field: what Databricks' Jobs API says, plus the shorthand of ours.

The reader checks against these structs, and the JSON Schema and the table of the documentation are made from them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from wfengine.states import RunIf

_TASK_KEY = r"^[A-Za-z0-9_\-]{1,100}$"
_PARAMETER_NAME = r"^[A-Za-z0-9_.\-]{1,100}$"
#: The patterns in words.
PATTERNS = {
    _TASK_KEY: "should have letters, digits, _ and - only, 1 to 100 of them",
    _PARAMETER_NAME: "should have letters, digits, _ - and . only, 1 to 100 of them",
}
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=4096)]
ParameterName = Annotated[str, Meta(pattern=_PARAMETER_NAME)]
TaskKey = Annotated[str, Meta(pattern=_TASK_KEY)]
Pause = Literal["PAUSED", "UNPAUSED"]
Addresses = list[str]


def about(text: str) -> Meta:
    """Say what a field means, for the JSON Schema and the documentation."""
    return Meta(description=text)


class DependencyShape(msgspec.Struct, forbid_unknown_fields=True):
    """One upstream task."""

    task_key: str
    outcome: Literal["true", "false"] | None = None


class ParameterShape(msgspec.Struct, forbid_unknown_fields=True):
    """One job parameter."""

    name: ParameterName
    default: str = ""


class QueueShape(msgspec.Struct, forbid_unknown_fields=True):
    """Whether runs over the limit wait."""

    enabled: bool


class ScheduleShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When a job is due: one of the two expressions."""

    quartz_cron_expression: str = ""
    cron: str = ""
    timezone_id: str = "UTC"
    pause_status: Pause = "UNPAUSED"
    catch_up: Literal["latest", "all", "none"] = "latest"


class PeriodicShape(msgspec.Struct, forbid_unknown_fields=True):
    """A trigger that fires at an interval."""

    interval: Positive
    unit: Literal["MINUTES", "HOURS", "DAYS", "WEEKS"]


class FileArrivalShape(msgspec.Struct, forbid_unknown_fields=True):
    """A trigger that fires when new files appear."""

    url: Name
    min_time_between_triggers_seconds: Count = 0
    wait_after_last_change_seconds: Count = 0


class TableUpdateShape(msgspec.Struct, forbid_unknown_fields=True):
    """A trigger that fires when tables change."""

    table_names: Annotated[list[Name], Meta(min_length=1)]
    condition: Literal["ANY_UPDATED", "ALL_UPDATED"] = "ANY_UPDATED"
    min_time_between_triggers_seconds: Count = 0
    wait_after_last_change_seconds: Count = 0


class TriggerShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What starts a job: one of the three."""

    periodic: PeriodicShape | None = None
    file_arrival: FileArrivalShape | None = None
    table_update: TableUpdateShape | None = None
    pause_status: Pause = "UNPAUSED"


class ContinuousShape(msgspec.Struct, forbid_unknown_fields=True):
    """A job that is started again whenever it ends."""

    pause_status: Pause = "UNPAUSED"
    task_retry_mode: Literal["NEVER", "ON_FAILURE"] = "NEVER"


class HealthRuleShape(msgspec.Struct, forbid_unknown_fields=True):
    """A limit that warns when it is passed."""

    metric: Literal[
        "RUN_DURATION_SECONDS",
        "STREAMING_BACKLOG_BYTES",
        "STREAMING_BACKLOG_FILES",
        "STREAMING_BACKLOG_RECORDS",
        "STREAMING_BACKLOG_SECONDS",
    ]
    op: Literal["GREATER_THAN"]
    value: Count


class HealthShape(msgspec.Struct, forbid_unknown_fields=True):
    """Limits that warn and never stop anything."""

    rules: list[HealthRuleShape] = []


class EmailShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Who is told by e-mail."""

    on_start: Addresses = []
    on_success: Addresses = []
    on_failure: Addresses = []
    on_duration_warning_threshold_exceeded: Addresses = []
    no_alert_for_skipped_runs: bool = False


class WebhookShape(msgspec.Struct, forbid_unknown_fields=True):
    """One destination of a workspace."""

    id: Name


class WebhooksShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which destinations are told."""

    on_start: list[WebhookShape] = []
    on_success: list[WebhookShape] = []
    on_failure: list[WebhookShape] = []
    on_duration_warning_threshold_exceeded: list[WebhookShape] = []


class JobNotificationShape(msgspec.Struct, forbid_unknown_fields=True):
    """Which messages about the job are not wanted."""

    no_alert_for_skipped_runs: bool = False
    no_alert_for_canceled_runs: bool = False


class TaskNotificationShape(JobNotificationShape, forbid_unknown_fields=True):
    """Which messages about the task are not wanted."""

    alert_on_last_attempt: bool = False


class ExpectationShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A statement about a table: either a query without rows, or a condition that every row of a table satisfies."""

    name: Name
    table: str = ""
    where: str = ""
    query: str = ""
    on_fail: Literal["fail", "warn"] = "fail"


class TaskShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields that every task may have beside its ``<kind>_task``."""

    task_key: Annotated[TaskKey, about("Name of the task: letters, digits, `_`, `-`, at most 100")]
    description: Annotated[str, about("Free text")] = ""
    depends_on: Annotated[
        list[DependencyShape | str], about("Tasks to wait for, each as its `task_key` or as a mapping with `task_key`")
    ] = []
    run_if: Annotated[RunIf, about("When the task runs, given how the tasks it waits for ended")] = RunIf.ALL_SUCCESS
    disabled: Annotated[bool, about("`true` switches the task off")] = False
    timeout_seconds: Annotated[Count, about("Seconds one attempt may take; 0 for no limit")] = 0
    max_retries: Annotated[
        int, Meta(ge=-1, le=2**31 - 1), about("Further attempts after the first; -1 for no limit")
    ] = 0
    min_retry_interval_millis: Annotated[
        Count, about("From the start of a failed attempt to the start of the next")
    ] = 0
    retry_on_timeout: Annotated[bool, about("Whether an attempt that took too long is followed by another")] = False
    expect: Annotated[
        list[ExpectationShape],
        about("Statements about tables, checked after the task: `name`, `table` with `where` or `query`, `on_fail`"),
    ] = []
    on_failure: Annotated[
        Literal["restore"] | None,
        about("`restore` undoes what a failed, timed-out or cancelled attempt wrote to tables; else it stays"),
    ] = None
    outputs: Annotated[
        list[Name], about("Tables the task writes without Spark, so that their versions are known too")
    ] = []
    health: Annotated[HealthShape | None, about("`rules` that warn when a run takes long; they stop nothing")] = None
    email_notifications: Annotated[
        EmailShape | None,
        about("Addresses by event: `on_start`, `on_success`, `on_failure`, `on_duration_warning_threshold_exceeded`"),
    ] = None
    webhook_notifications: Annotated[
        WebhooksShape | None, about("Destinations (`id`) by event; has no effect here")
    ] = None
    notification_settings: Annotated[TaskNotificationShape | None, about("Which messages are not wanted")] = None


class ConditionShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Two values that the engine compares."""

    op: Annotated[
        Literal[
            "EQUAL_TO",
            "NOT_EQUAL",
            "GREATER_THAN",
            "GREATER_THAN_OR_EQUAL",
            "LESS_THAN",
            "LESS_THAN_OR_EQUAL",
        ],
        about("`EQUAL_TO` and `NOT_EQUAL` compare text, the others numbers"),
    ]
    left: Annotated[str, about("One value, usually with a reference")]
    right: Annotated[str, about("The other value")]


class ForEachShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A task that is run once for each of several inputs."""

    inputs: Annotated[
        list[Any] | str, about("A list, the text of a JSON array, or a reference to one; at most 5,000 elements")
    ]
    #: Checked as every task is.
    task: Annotated[msgspec.Raw, about("The task, of any kind but `for_each`; `{{input}}` in it is the element")]
    concurrency: Annotated[
        int, Meta(ge=1, le=100), about("How many iterations may be going at the same time, at most 100")
    ] = 1


class RunJobShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Another job that is run, and waited for."""

    job_id: Annotated[
        str | None, about("Key of a job in the same bundle, its name, or its id in the home; instead of `job_name`")
    ] = None
    job_name: Annotated[str | None, about("Name of a job in this folder, in the bundle, or loaded by a daemon")] = None
    job_parameters: Annotated[dict[str, str], about("Values of the job's parameters")] = {}


class JobShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A job: the top of the file, or what stands under ``settings``."""

    name: Annotated[Name, about("Name of the job; runs belong to it by this name")]
    #: Checked one by one against `TaskShape` and the config of their kind.
    tasks: Annotated[list[msgspec.Raw], Meta(min_length=1), about("The tasks, in any order")]
    description: Annotated[str, about("Free text")] = ""
    parameters: Annotated[
        list[ParameterShape] | dict[ParameterName, str],
        about("Job parameters and their defaults: a list of `name` and `default`, or a mapping"),
    ] = []
    timeout_seconds: Annotated[Count, about("Seconds the whole run may take; 0 for no limit")] = 0
    max_concurrent_runs: Annotated[int, Meta(ge=0, le=1000), about("Runs of this job at the same time; 0 for none")] = 1
    queue: Annotated[QueueShape | None, about("`enabled: true` lets runs over that limit wait")] = None
    schedule: Annotated[
        ScheduleShape | None,
        about("`quartz_cron_expression` (6 or 7 fields) or `cron` (5), with `timezone_id`, `pause_status`, `catch_up`"),
    ] = None
    trigger: Annotated[
        TriggerShape | None, about("One of `periodic`, `file_arrival`, `table_update`, with `pause_status`")
    ] = None
    continuous: Annotated[
        ContinuousShape | None, about("Starts the job again whenever it ends: `pause_status`, `task_retry_mode`")
    ] = None
    health: Annotated[HealthShape | None, about("`rules` that warn when a run takes long; they stop nothing")] = None
    email_notifications: Annotated[
        EmailShape | None,
        about("Addresses by event: `on_start`, `on_success`, `on_failure`, `on_duration_warning_threshold_exceeded`"),
    ] = None
    webhook_notifications: Annotated[
        WebhooksShape | None, about("Destinations (`id`) by event; has no effect here")
    ] = None
    notification_settings: Annotated[JobNotificationShape | None, about("Which messages are not wanted")] = None
