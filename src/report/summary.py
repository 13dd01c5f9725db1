"""The result of a run as text for a terminal."""

from collections.abc import Mapping

from src.report.downstream import ARMS

Metrics = Mapping[str, float]
# The arms of metrics/worth.json, as they are told.
WORTH = {
    "scratch": "from scratch on these labels",
    "semi_supervised": "semi-supervised",
    "guessed_tuned": "on real images, labels guessed",
    "synthetic_tuned": "on the synthetic set",
    "both_tuned": "on both",
}


def table(quality: Metrics, downstream: Metrics, worth: Metrics, outcome: str) -> str:
    """What the synthetic set scores and what it is worth.

    Args:
        quality: metrics/quality.json.
        downstream: metrics/downstream.json.
        worth: metrics/worth.json.
        outcome: metrics/outcome.json's.
    """
    lines = [
        "",
        f"The GAN run: {outcome}",
        "",
        "Synthetic set                            value    real images",
        f"  FID (lower is better)             {quality['fid']:10.2f}     {quality['fid_floor']:10.2f}",
        f"  Inception score                   {quality['is_mean']:10.2f}     {quality['is_real']:10.2f}",
        f"  labels the extractor agrees with  {quality['label_agreement']:10.2%}"
        f"     {quality['label_agreement_real']:10.2%}",
        "  accuracy of a classifier trained on it, tested on real images",
        f"                                    {downstream['cas']:10.2%}     {downstream['cas_real']:10.2%}",
        f"  real labels that went into it     {downstream['labels_behind_synthetic']:10,}",
        "",
        "Error on real test images            pretrained        from scratch",
    ]
    prefix = "error_scratch_"
    counts = [key.removeprefix(prefix) for key in downstream if key.startswith(prefix)]
    for count in sorted(int(c) for c in counts if c.isdigit()):
        keys = [f"error_{arm}_{count}" for arm in ARMS]
        cells = [f"{downstream[key]:7.2%} ± {downstream[f'{key}_std']:.2%}" for key in keys]
        lines.append(f"  {count:>6,} real labels          {cells[0]:>16}  {cells[1]:>16}")
    lines += ["", f"The same classifier on {worth['labels']:,} labels in all, one draw: error"]
    lines += [f"  {told:32}  {worth[f'error_{arm}']:12.2%}" for arm, told in WORTH.items()]
    return "\n".join(lines)


def beside(here: Metrics, there: Metrics, revision: str) -> str:
    """Scores here and at another revision, side by side."""
    lines = [f"{'':24}{'here':>12}  {revision[:12]:>12}"]
    for name in sorted(set(here) | set(there)):
        cells = [f"{values[name]:12.4f}" if name in values else f"{'-':>12}" for values in (here, there)]
        lines.append(f"{name:24}{'  '.join(cells)}")
    return "\n".join(lines)
