"""The sales report: a PDF with a chart of the months and a table of every order."""

from collections import defaultdict
from decimal import Decimal

from django.conf import settings
from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.shapes import Drawing
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from office.models import Order

MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def write_report(year: int) -> tuple[str, int]:
    """Write the report of a year; return its path below the media folder and the number of pages."""
    orders = list(Order.objects.filter(day__year=year).select_related("customer").order_by("day"))
    months: dict[int, Decimal] = defaultdict(Decimal)
    for order in orders:
        months[order.day.month] += order.amount

    styles = getSampleStyleSheet()
    story = [
        Paragraph(f"Sales in {year}", styles["Title"]),
        Paragraph(f"{len(orders):,} orders, {sum(months.values()):,.2f} in total", styles["Normal"]),
        _chart([float(months[month]) for month in range(1, 13)]),
        Spacer(0, 12),
        _table(orders),
    ]
    name = f"reports/sales-{year}.pdf"
    path = settings.MEDIA_ROOT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    document = SimpleDocTemplate(str(path), pagesize=A4, title=f"Sales in {year}")
    document.build(story)
    return name, document.page


def _chart(totals: list[float]) -> Drawing:
    chart = VerticalBarChart()
    chart.x, chart.y, chart.width, chart.height = 40, 20, 400, 150
    chart.data = [totals]
    chart.categoryAxis.categoryNames = MONTHS
    chart.valueAxis.valueMin = 0
    chart.bars[0].fillColor = colors.HexColor("#4c9a52")
    drawing = Drawing(460, 190)
    drawing.add(chart)
    return drawing


def _table(orders: list[Order]) -> Table:
    rows = [["day", "customer", "amount"]]
    rows += [[order.day.isoformat(), order.customer.name, f"{order.amount:,.2f}"] for order in orders]
    style = [
        ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold"),
        ("ALIGN", (2, 0), (2, -1), "RIGHT"),
        ("ROWBACKGROUNDS", (0, 1), (-1, -1), [colors.white, colors.HexColor("#f2f7f2")]),
    ]
    return Table(rows, colWidths=(90, 240, 90), repeatRows=1, style=TableStyle(style))
