"""What to do next, and the totals."""

from collections import Counter
from dataclasses import replace

from taxi_pipeline.status import Figures, MonthStatus, State, Status, Step, Totals, next_steps
from taxi_pipeline.status.steps import ranges
from taxi_pipeline.tlc.month import Month
from taxi_pipeline_tests.support.status import AS_OF, full_history

HISTORY = full_history()


def months(service: str, state: State, *keys: str) -> list[MonthStatus]:
    return [MonthStatus(service, Month.parse(key), state, "") for key in keys]


def steps(*of: list[MonthStatus]) -> list[Step]:
    return next_steps(Status(AS_OF, "gs://lake/", [month for group in of for month in group]))


def test_of_a_choice_nothing_more_is_said_than_was_chosen() -> None:
    chosen = Status(AS_OF, "gs://lake/", months("yellow", State.LOADED, "2026-09"), is_chosen=True)
    assert next_steps(chosen) == [Step("Nothing: every month chosen that is due is as loaded.")]
    none = replace(chosen, months=months("green", State.NO_MONTH, "2013-07"))
    assert next_steps(none) == [Step("Nothing: none of the months chosen is due.")]
    assert next_steps(replace(none, is_chosen=False)) == [
        Step("Nothing: none of the months is due.")
    ]


def test_each_thing_that_is_not_well_has_a_command_the_most_urgent_first() -> None:
    assert next_steps(HISTORY) == [
        Step("1 month failed.", "taxi retry-failed --service fhv"),
        Step(
            "green 2015-03 does not add up.",
            "taxi ledger --service green --month 2015-03 --columns",
        ),
        Step(
            "yellow 2019-07 was rewritten since.",
            "taxi backfill yellow --month 2019-07",
        ),
        Step(
            "fhv 2017-04 to 2017-06 are missing.", "taxi backfill fhv --from 2017-04 --to 2017-06"
        ),
        Step("1 month is being run: look again."),
    ]


def test_where_all_is_well_there_is_nothing_to_do() -> None:
    well = months("yellow", State.LOADED, "2026-09")
    late = months("yellow", State.UNPUBLISHED, "2026-10")
    assert steps(well, late) == [Step("Nothing: every month that is due is as loaded.")]


def test_where_something_is_not_known_nothing_is_praised() -> None:
    well = months("yellow", State.LOADED, "2026-09")
    (step,) = next_steps(Status(AS_OF, "gs://lake/", well, ("Postgres could not be asked.",)))
    assert step == Step(
        "As far as is known, every month that is due is as loaded: see what is not."
    )


def test_months_in_a_row_are_one_command_and_services_of_the_same_months_too() -> None:
    missing = ("2020-11", "2020-12", "2021-01", "2021-03")
    shown = steps(
        months("yellow", State.MISSING, *missing), months("green", State.MISSING, *missing)
    )
    assert [step.command for step in shown] == [
        "taxi backfill yellow green --from 2020-11 --to 2021-01",
        "taxi backfill yellow green --month 2021-03",
    ]
    assert shown[0].sentence == "yellow, green 2020-11 to 2021-01 are missing."
    assert shown[1].sentence == "yellow, green 2021-03 are missing."
    unequal = steps(months("yellow", State.UNEQUAL, "2021-01", "2021-02"))
    assert [step.command for step in unequal] == [
        "taxi ledger --service yellow --from 2021-01 --to 2021-02 --columns"
    ]


def test_what_was_merely_begun_is_run() -> None:
    unequal = months("yellow", State.UNEQUAL, "2021-01", "2021-02", "2021-03")
    shown = steps([unequal[0], *[replace(month, is_begun=True) for month in unequal[1:]]])
    assert shown == [
        Step(
            "yellow 2021-01 does not add up.",
            "taxi ledger --service yellow --month 2021-01 --columns",
        ),
        Step(
            "yellow 2021-02 to 2021-03 are not loaded.",
            "taxi backfill yellow --from 2021-02 --to 2021-03",
        ),
    ]


def test_months_that_are_being_run_say_since_when() -> None:
    running = [
        replace(month, running_since=AS_OF.replace(day=28, minute=minute))
        for minute, month in enumerate(months("yellow", State.RUNNING, "2021-01", "2021-02"))
    ]
    assert steps(running[:1]) == [
        Step("1 month is being run, since 2026-11-28 09:00 UTC: look again.")
    ]
    assert steps(running) == [
        Step("2 months are being run, the first since 2026-11-28 09:00 UTC: look again.")
    ]


def test_one_services_last_month_and_anothers_first_are_not_in_a_row() -> None:
    shown = ranges(
        [*months("yellow", State.MISSING, "2020-12"), *months("green", State.MISSING, "2021-01")]
    )
    assert [str(each) for each in shown] == ["yellow 2020-12", "green 2021-01"]


def test_the_totals_are_the_sums_of_the_months() -> None:
    totals = Totals.of(HISTORY.months)
    assert totals.due == 604
    assert (totals.loaded, sum(totals.states.values())) == (597, len(HISTORY.months))
    assert totals.published == totals.kept + totals.rejected.total()
    figures = [month.figures for month in HISTORY.months if month.figures]
    assert totals.cents == sum(each.cents or 0 for each in figures)
    assert totals.size == sum(each.size for each in figures)
    assert (totals.oldest, totals.newest) == (Month(2009, 1), Month(2026, 9))
    fhv = Totals.of(HISTORY.services["fhv"])
    assert (fhv.cents, fhv.dollars, fhv.oldest) == (None, None, Month(2015, 1))


def test_a_month_that_is_not_due_does_not_count_as_one() -> None:
    early = replace(months("yellow", State.LOADED, "2026-11")[0], is_due=False)
    totals = Totals.of([*HISTORY.months, early])
    assert (totals.due, totals.loaded) == (604, 597)
    assert totals.states[State.LOADED] == 598


def test_totals_are_of_the_months_that_say_a_figure() -> None:
    says = Figures(100, 90, Counter(unparsable=10), 9000, 1)
    silent = Figures(None, 90, Counter(unparsable=10), None, 1)
    without_rejected = Figures(50, None, None, None, 1)
    of = [
        replace(month, figures=figures)
        for month, figures in zip(
            months("yellow", State.LOADED, "2021-01", "2021-02", "2021-03"),
            (says, silent, without_rejected),
            strict=True,
        )
    ]
    totals = Totals.of(of)
    assert totals.rejected_share == 0.1
    assert (totals.dollars, totals.with_cents, totals.of_months) == (90, 1, " of 1 month")
    # fhv publishes no amounts, so none is wanting
    fhv = replace(months("fhv", State.LOADED, "2021-01")[0], figures=silent)
    assert Totals.of([of[0], fhv]).of_months == ""
    assert Totals.of([fhv]).of_months == ""
    assert Totals.of(HISTORY.months).of_months == ""


def test_of_no_months_there_is_nothing_to_sum_up() -> None:
    totals = Totals.of(months("yellow", State.MISSING, "2021-01"))
    assert (totals.due, totals.kept, totals.cents, totals.rejected_share) == (1, 0, None, None)
    assert (totals.oldest, totals.newest) == (None, None)


def test_a_month_that_failed_or_does_not_add_up_is_bad_and_a_missing_one_is_not() -> None:
    assert not HISTORY.is_good
    for state in State:
        status = replace(HISTORY, months=months("yellow", state, "2021-01"))
        assert status.is_good is (state not in (State.FAILED, State.UNEQUAL))
