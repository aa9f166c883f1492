#!/usr/bin/env python
"""Train or evaluate the model that a config file describes, with Detectron2's usual arguments."""

from insight.cli.reporting import reports_errors
from insight.engine import evaluate, launch, setup, train_arguments, trainer_class


@reports_errors
def work(args):
    """What each process does."""
    cfg = setup(args)
    if args.eval_only:
        evaluate(cfg, resume=args.resume)
        return
    trainer = trainer_class(cfg)(cfg)
    trainer.resume_or_load(resume=args.resume)
    trainer.train()


@reports_errors
def main():
    launch(work, train_arguments().parse_args())


if __name__ == "__main__":
    main()
