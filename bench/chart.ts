export interface Point {
  label: string
  value: number
}

export interface Chart {
  title: string
  points: readonly Point[]
}

const CHART = { width: 360, height: 200, gap: 40 }
const TOP = 104
const BAR = 48

/** Bar charts side by side, two in a row, all on one scale that starts at 0. */
export function drawCharts(charts: readonly Chart[], caption: string): string {
  const most = Math.max(...charts.flatMap(({ points }) => points.map(({ value }) => value)))
  const width = 2 * CHART.width + 3 * CHART.gap
  const rows = Math.ceil(charts.length / 2)
  const height = TOP + rows * (CHART.height + 2 * CHART.gap) - CHART.gap
  const drawn = charts.map(({ title, points }, i) => {
    const x = CHART.gap + (i % 2) * (CHART.width + CHART.gap)
    const y = TOP + Math.floor(i / 2) * (CHART.height + 2 * CHART.gap)
    return `<g transform="translate(${x} ${y})">${drawChart(title, points, most)}</g>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13" fill="#1f2937">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...wrap(caption, 112).map(
      (line, i) => `<text x="${CHART.gap}" y="${24 + 18 * i}">${escape(line)}</text>`,
    ),
    ...drawn,
    '</svg>',
    '',
  ].join('\n')
}

function drawChart(title: string, points: readonly Point[], most: number): string {
  const step = CHART.width / points.length
  const bars = points.map(({ label, value }, i) => {
    const middle = (i + 0.5) * step
    const bar = (value / most) * (CHART.height - 20)
    return [
      `<rect x="${middle - BAR / 2}" y="${(CHART.height - bar).toFixed(1)}" width="${BAR}" height="${bar.toFixed(1)}" fill="#2563eb"/>`,
      `<text x="${middle}" y="${(CHART.height - bar - 6).toFixed(1)}" text-anchor="middle">${value.toLocaleString('en')}</text>`,
      `<text x="${middle}" y="${CHART.height + 18}" text-anchor="middle">${escape(label)}</text>`,
    ].join('\n')
  })
  return [
    `<text y="-8" font-weight="bold">${escape(title)}</text>`,
    ...bars,
    `<path d="M0 ${CHART.height}H${CHART.width}" stroke="#6b7280"/>`,
  ].join('\n')
}

function wrap(text: string, width: number): string[] {
  return text.match(new RegExp(`.{1,${width}}(\\s|$)`, 'g')) ?? []
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
