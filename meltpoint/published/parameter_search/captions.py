"""The tables, figures and texts of the parameter search: names, titles, captions and sources."""

from pathlib import Path

from meltpoint.report.entries import Item

CATEGORY = "Parameter search"
SOURCES = ("hgsp_search",)
# The models of the table: each has a CSV file of its own.
JSON = ("global_best_config", "method_comparison", "cross_model_comparison")
RUNS = (
    "Mean accuracy is the mean of seven zero-shot tasks; perplexity is on WikiText2 at length 128; "
    "20 % of all parameters are pruned, without fine-tuning."
)
TABLES = {
    "search_best": (
        "Best configurations",
        "The run of the highest mean accuracy of each model, with its seven tasks, and that of the "
        f"lowest perplexity. {RUNS}",
    ),
    "search_groups": (
        "Accuracy by method, length and samples",
        f"Mean accuracy by method, calibration length and number of samples. {RUNS}",
    ),
    "search_extreme": (
        "Accuracy by extreme layers",
        "Mean accuracy by the number of layers of which more than half of the MLP was pruned.",
    ),
    "search_correlations": (
        "Correlations with accuracy",
        "Correlation of the gradient measures, the number of extreme layers and perplexity with the "
        "mean accuracy, over the 45 runs of each model.",
    ),
    "search_comparisons": (
        "Which differences are larger than their noise",
        "Differences of mean accuracy between two levels of a factor, over the cells of the grid "
        "that agree in the other two, in points of percent.",
    ),
    "search_dependence": (
        "Partial dependence",
        "Mean accuracy at each level of each factor, the others averaged (an additive model; on this "
        "full grid the marginal means).",
    ),
    "search_variance": (
        "What the variance comes from",
        "Share of the variance of the mean accuracy that each factor and pair of factors explains.",
    ),
}
FIGURES = {
    "search_heatmap_accuracy": (
        "Accuracy over length and samples",
        "Mean accuracy (%) over calibration length and number of samples, by model and method; one "
        "colour scale per model. The frame is the best run of a model.",
    ),
    "search_heatmap_perplexity": (
        "Perplexity over length and samples",
        "Perplexity over calibration length and number of samples, by model and method; one "
        "logarithmic colour scale per model. The frame is the lowest perplexity of a model.",
    ),
    "search_tradeoff": (
        "Accuracy over perplexity",
        "Mean accuracy over perplexity of all runs, with the binomial standard error of one run. The "
        "star is the best accuracy of a model; the source calls its perplexity the best.",
    ),
    "search_dependence": (
        "Partial dependence",
        "Mean accuracy by method, length and samples, the others averaged, with 95 % intervals from "
        "the residuals of an additive model. The bar at the lower right is the binomial standard "
        "error of a single run.",
    ),
    "search_gradients": (
        "Accuracy over the gradient measures",
        "Mean accuracy over the four gradient measures; infinite ones stand at the right edge.",
    ),
}


def items() -> list[Item]:
    """What the report page shows of the parameter search."""
    shown = [
        Item(CATEGORY, f"table_{name}", title, caption, table=Path(f"tables/{name}.csv"))
        for name, (title, caption) in TABLES.items()
    ]
    shown += [
        Item(CATEGORY, f"figure_{name}", title, caption, figure=Path(f"figures/{name}.svg"))
        for name, (title, caption) in FIGURES.items()
    ]
    report = Item(
        CATEGORY,
        "search_report",
        "Report of the parameter search",
        "All of the published summary, and what goes beyond it.",
        text=Path("search/report.md"),
    )
    summary = Item(
        CATEGORY,
        "search_summary",
        "Summary in long form",
        "Every number of the summary: model, section, key, statistic, value.",
        table=Path("search/summary.csv"),
    )
    return [*shown, report, summary]
