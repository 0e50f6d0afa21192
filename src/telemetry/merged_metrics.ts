// In: the metrics of several processes of one gate. Out: those of the gate, in the Prometheus text format.
// Never: a counter that goes backwards because a process has ended, as long as `countersOf` it is added on.

/** One metric of one process, as prom-client's `getMetricsAsJSON` gives it. */
export interface MetricSnapshot {
  readonly name: string
  readonly help: string
  readonly type: string
  /** What the values of several processes become; `omit`: nothing that could be told of them together. */
  readonly aggregator: 'sum' | 'max' | 'min' | 'average' | 'first' | 'omit'
  readonly values: readonly SeriesValue[]
}

interface SeriesValue {
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
  /** Where it is not the name of the metric: `…_bucket`, `…_sum`, `…_count`. */
  readonly metricName?: string
}

/** Whether what another process said is what `mergeMetrics` adds up. */
export function isMetrics(value: unknown): value is MetricSnapshot[] {
  return Array.isArray(value) && value.every(isMetric)
}

function isMetric(metric: Partial<Record<keyof MetricSnapshot, unknown>> | null | undefined): boolean {
  if (typeof metric !== 'object' || metric === null) return false
  const { name, help, type, aggregator, values } = metric
  return (
    [name, help, type, aggregator].every((text) => typeof text === 'string') &&
    Object.hasOwn(combinations, aggregator as string) &&
    Array.isArray(values) &&
    values.every(isSeriesValue)
  )
}

function isSeriesValue(series: Partial<Record<keyof SeriesValue, unknown>> | null | undefined): boolean {
  if (typeof series !== 'object' || series === null) return false
  const { labels, value, metricName = '' } = series
  return (
    typeof labels === 'object' &&
    labels !== null &&
    typeof value === 'number' &&
    typeof metricName === 'string'
  )
}

/** Content type of what `renderMetrics` writes. */
export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8'

/** One metric each, in the order of their first appearance. */
export function mergeMetrics(processes: readonly (readonly MetricSnapshot[])[]): MetricSnapshot[] {
  const byName = new Map<string, MetricSnapshot[]>()
  for (const metric of processes.flat()) {
    const alike = byName.get(metric.name)
    if (alike === undefined) byName.set(metric.name, [metric])
    else alike.push(metric)
  }
  return [...byName.values()]
    .filter(([first]) => first!.aggregator !== 'omit')
    .map((alike) => ({ ...alike[0]!, values: mergeValues(alike) }))
}

/** What only ever grows: to be kept when a process ends, because its successor begins at 0. */
export function countersOf(metrics: readonly MetricSnapshot[]): MetricSnapshot[] {
  return metrics.filter(({ type, aggregator }) => aggregator === 'sum' && type !== 'gauge')
}

/** The Prometheus text format, version 0.0.4. */
export function renderMetrics(metrics: readonly MetricSnapshot[]): string {
  return metrics
    .map(({ name, help, type, values }) => {
      const samples = values.map(
        ({ metricName = name, labels, value }) => `${metricName}${labelText(labels)} ${numberText(value)}`,
      )
      return `${[`# HELP ${name} ${escaped(help)}`, `# TYPE ${name} ${type}`, ...samples].join('\n')}\n`
    })
    .join('\n')
}

function mergeValues(alike: readonly MetricSnapshot[]): SeriesValue[] {
  const series = new Map<string, SeriesValue[]>()
  for (const value of alike.flatMap(({ values }) => values)) {
    const key = `${value.metricName ?? ''}${labelText(value.labels)}`
    const known = series.get(key)
    if (known === undefined) series.set(key, [value])
    else known.push(value)
  }
  const combine = combinations[alike[0]!.aggregator]
  return [...series.values()].map((values) => ({
    ...values[0]!,
    value: combine(values.map(({ value }) => value)),
  }))
}

const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0)

const combinations: Readonly<Record<MetricSnapshot['aggregator'], (values: readonly number[]) => number>> = {
  sum,
  max: (values) => Math.max(...values),
  min: (values) => Math.min(...values),
  average: (values) => sum(values) / values.length,
  first: ([value]) => value!,
  omit: () => Number.NaN,
}

function labelText(labels: SeriesValue['labels']): string {
  const texts = Object.entries(labels).map(
    ([name, value]) => `${name}="${escaped(String(value)).replaceAll('"', '\\"')}"`,
  )
  return texts.length === 0 ? '' : `{${texts.join(',')}}`
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value)
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
}
