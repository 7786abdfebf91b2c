"""Experiments, their reports, and online metrics."""

from __future__ import annotations

from typing import Literal

from trunkline.recommender.v1 import experiments_pb2 as pb

from services.kit.errors import invalid
from services.kit.names import check_name
from services.recommender.limits import check_count, check_number, check_text, check_word
from services.recommender.messages.times import timestamp
from services.recommender.serving.experiments import Report, VariantReport
from services.recommender.serving.online_metrics import OnlineMetric
from services.recommender.serving.statistics import Difference, Rate
from services.recommender.store.experiments import Experiment, Variant

MAX_WEIGHT = 1e9
_UNITS: dict[int, Literal["user", "session"]] = {
    pb.UNIT_UNSPECIFIED: "user",
    pb.UNIT_USER: "user",
    pb.UNIT_SESSION: "session",
}
_UNIT_NUMBERS = {"user": pb.UNIT_USER, "session": pb.UNIT_SESSION}
_GOALS = ("click", "conversion")


def experiment(message: pb.Experiment) -> Experiment:
    """Return the experiment. Raises InvalidArgument."""
    unit = _UNITS.get(message.unit)
    if unit is None:
        raise invalid("experiment.unit", f"must be one of Unit's, not {message.unit}")
    check_count("experiment.variants", message.variants, 2, 16)
    return Experiment(
        name=check_name("experiment.name", message.name),
        scenario=message.scenario,
        variants=tuple(_variant(index, each) for index, each in enumerate(message.variants)),
        unit=unit,
        salt=check_text("experiment.salt", message.salt, 256),
        goals=_goals(message) or None,
    )


def experiment_message(found: Experiment) -> pb.Experiment:
    """Return the message of an experiment."""
    goals = found.goals or {}
    return pb.Experiment(
        name=found.name,
        scenario=found.scenario,
        variants=[
            pb.Variant(name=each.name, weight=each.weight, scenario=each.scenario) for each in found.variants
        ],
        unit=_UNIT_NUMBERS[found.unit],
        salt=found.salt,
        click_type=goals.get("click", ""),
        conversion_type=goals.get("conversion", ""),
        started_at=timestamp(found.created),
        ended_at=timestamp(found.ended),
    )


def report_message(report: Report) -> pb.GetExperimentReportResponse:
    """Return the message of a report."""
    return pb.GetExperimentReportResponse(
        experiment=experiment_message(report.experiment),
        variants=map(_variant_report, report.variants),
        sample_ratio_p=report.sample_ratio_p,
        sample_ratio_mismatch=report.sample_ratio_broken,
    )


def metric_message(metric: OnlineMetric) -> pb.OnlineMetric:
    """Return the message of what became of a group of shown items."""
    return pb.OnlineMetric(
        experiment=metric.experiment,
        variant=metric.variant,
        source=metric.source,
        position=metric.position,
        impressions=metric.impressions,
        clicks=metric.clicks,
        conversions=metric.conversions,
        click_rate=_rate(metric.ctr),
        conversion_rate=_rate(metric.conversion),
    )


def _goals(message: pb.Experiment) -> dict[str, str]:
    types = {goal: getattr(message, f"{goal}_type") for goal in _GOALS}
    return {
        goal: check_word(f"experiment.{goal}_type", event_type)
        for goal, event_type in types.items()
        if event_type
    }


def _variant(index: int, message: pb.Variant) -> Variant:
    field = f"experiment.variants[{index}]"
    weight = message.weight if message.HasField("weight") else 1.0
    return Variant(
        name=check_name(f"{field}.name", message.name),
        weight=check_number(f"{field}.weight", weight, 0.0, MAX_WEIGHT),
        scenario=message.scenario,
    )


def _variant_report(report: VariantReport) -> pb.VariantReport:
    message = pb.VariantReport(
        name=report.name,
        units=report.units,
        impressions=report.impressions,
        clicks=report.clicks,
        conversions=report.conversions,
        click_rate=_rate(report.ctr),
        conversion_rate=_rate(report.conversion),
    )
    if report.ctr_difference is not None:
        message.click_rate_difference.CopyFrom(_difference(report.ctr_difference))
    if report.conversion_difference is not None:
        message.conversion_rate_difference.CopyFrom(_difference(report.conversion_difference))
    return message


def _rate(rate: Rate) -> pb.Rate:
    return pb.Rate(value=rate.value, low=rate.low, high=rate.high)


def _difference(of: Difference) -> pb.Difference:
    return pb.Difference(value=of.value, low=of.low, high=of.high, p_value=of.p_value)
