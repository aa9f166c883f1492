"""`insight measure missed`."""

import argparse

from insight.inference.score_threshold import check_score_threshold

from .common import add_measurement, measured_config


def add_parser(measurements) -> None:
    """Add the command."""
    parser = add_measurement(
        measurements,
        "missed",
        run,
        "Measure AP when the instances that a detector misses are given to it as box prompts",
        " --score-threshold 0.5",
    )
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.05,
        metavar="S",
        help="an instance is missed unless a detection of at least this score, 0 to 1, finds it (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    check_score_threshold(args.score_threshold)
    cfg = measured_config(args)

    from insight.engine.measurement import measured_predictor, write_measurement
    from insight.evaluation.missed import evaluate_missed

    predictor = measured_predictor(cfg)
    results = {}
    for dataset in cfg.DATASETS.TEST:
        found = evaluate_missed(predictor, dataset, args.score_threshold, cfg.TEST.MAX_DETS, cfg.TEST.AREA_PROFILE)
        results[dataset] = {"missed": found}
        print(f"{dataset}: {found['missed']:.0f} of {found['instances']:.0f} instances are missed")
        for name in ("AP", "AP50", "AP75"):
            print(f"{name:5s} automatic {found[f'automatic {name}']:6.2f}   prompted {found[f'prompted {name}']:6.2f}")
    write_measurement(args.output, cfg, results, score_threshold=args.score_threshold)
