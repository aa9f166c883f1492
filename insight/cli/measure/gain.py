"""`insight measure gain`."""

import argparse
import shlex
from pathlib import Path

from insight.errors import InputError
from insight.hub import find
from insight.hub.finding import is_weight_file
from insight.runtime.outputs import check_output_folder

from ..options import (
    SAME_COMMAND,
    add_bad_options_over_config,
    add_command,
    add_config,
    add_device,
    add_overrides,
    check_checkpoint,
    check_model,
    config_of,
    integer,
)


def add_parser(measurements) -> None:
    """Add the command."""
    parser = add_command(
        measurements,
        "gain",
        run,
        "Measure what SOPSeg adds to exact and loose boxes, compared with simple baselines and plain SAM",
        (
            "measure gain isaid_tiles_small_val --sam mobile_sam.pt --row ours=output/sopseg_light --output gain",
            "measure gain nwpu_vhr10_small_val --fit-on nwpu_vhr10_small_train --objects 280 --output gain",
            "measure gain mine --config-file mine.yaml --row ours=sopseg.pth --output gain",
        ),
        "Writes gain.md and gain.json. Run the command again to continue after a kill, or to add rows.",
    )
    parser.continues = SAME_COMMAND
    parser.add_argument(
        "dataset", metavar="NAME", help="registered dataset with masks, or one of DATASETS.COCO of the config"
    )
    rows = parser.add_argument_group("rows, besides the superellipse and the filled box")
    rows.add_argument("--sam", metavar="FILE", help="checkpoint of SAM, for the rows that need no training")
    rows.add_argument(
        "--row",
        dest="rows",
        action="append",
        default=[],
        metavar="NAME=MODEL",
        help="a trained SOPSeg: a checkpoint, the OUTPUT_DIR of its training, or the name of a model; repeatable",
    )
    rows.add_argument(
        "--fit-on",
        metavar="NAME",
        help="training set that the superellipse's exponents are fitted to (default: exponent 2.5)",
    )
    objects = parser.add_argument_group("objects")
    objects.add_argument(
        "--objects",
        type=integer(1),
        metavar="N",
        help="measure N objects, in equal shares of the classes (default: all)",
    )
    objects.add_argument(
        "--seed",
        type=integer(0),
        default=0,
        metavar="N",
        help="seed of the choice and of the bootstrap (default: %(default)s)",
    )
    add_device(parser, "cpu")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the table and the finished rows")
    add_config(parser, required=False, purpose="datasets")
    add_bad_options_over_config(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    output = check_output_folder(args.output)
    rows = [_parse_row(text) for text in args.rows]
    check_checkpoint(args.sam)
    check_model(args)

    from insight.engine.gain import TrainedModel, measure_gain
    from insight.runtime.machine import parse_device

    models = [TrainedModel.find(*row) for row in rows]
    config_of(args, ["MODEL.DEVICE", "cpu"])  # registers its datasets; the models have --device
    measure_gain(
        output,
        args.dataset,
        sam=args.sam,
        trained=models,
        fit_on=args.fit_on,
        count=args.objects,
        seed=args.seed,
        device=parse_device(args.device or "cpu"),
        command=_command(args),
    )
    print((output / "gain.md").read_text(encoding="utf-8"))
    print(f"wrote {output / 'gain.md'} and {output / 'gain.json'}")


def _parse_row(text: str) -> tuple[str, str]:
    """The name and the model that NAME=MODEL means; a model that does not exist is an error."""
    name, _, model = text.partition("=")
    if not name or not model:
        raise InputError(f"rows: expected NAME=MODEL, got {text!r}")
    if is_weight_file(model):
        check_checkpoint(model)
    elif not Path(model, "config.yaml").is_file():  # of a training
        find(model)
    return name, model


def _command(args: argparse.Namespace) -> str:
    """The command line, for the reader of the table."""
    words = ["insight", "measure", "gain", args.dataset]
    for name, value in (("config-file", args.config_file), ("sam", args.sam), ("fit-on", args.fit_on)):
        words += [f"--{name}", *([value] if isinstance(value, str) else value)] if value else []
    words += [word for row in args.rows for word in ("--row", row)]
    words += ["--objects", str(args.objects)] if args.objects else []
    words += ["--seed", str(args.seed), "--output", args.output, *args.opts]
    return shlex.join(map(str, words))
