// Several processes, one exposition: what is added up, what is not, and that no counter goes back.
import { expect, test } from 'vitest'
import {
  countersOf,
  type MetricSnapshot,
  mergeMetrics,
  renderMetrics,
} from '../../src/telemetry/merged_metrics.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'

const metric = (
  aggregator: MetricSnapshot['aggregator'],
  value: number,
  more: Partial<MetricSnapshot> = {},
): MetricSnapshot => ({
  name: 'm',
  help: 'Of a test.',
  type: 'gauge',
  aggregator,
  values: [{ labels: {}, value }],
  ...more,
})
const merged = (...metrics: MetricSnapshot[]) =>
  mergeMetrics(metrics.map((each) => [each])).flatMap(({ values }) => values.map(({ value }) => value))

test.each([
  ['sum', 6],
  ['max', 3],
  ['min', 1],
  ['average', 2],
  ['first', 2],
] as const)('%s of 2, 1 and 3 is %d', (aggregator, expected) => {
  expect(merged(metric(aggregator, 2), metric(aggregator, 1), metric(aggregator, 3))).toEqual([expected])
})

test('what cannot be told of several processes together is left out', () => {
  expect(mergeMetrics([[metric('omit', 1)]])).toEqual([])
})

test('series are told apart by their labels and their names', () => {
  const one = metric('sum', 0, {
    values: [
      { labels: { a: 'x' }, value: 1 },
      { labels: { a: 'y' }, value: 2 },
    ],
  })
  const other = metric('sum', 0, {
    values: [
      { labels: { a: 'y' }, value: 3 },
      { labels: { a: 'y' }, value: 4, metricName: 'm_sum' },
    ],
  })
  expect(renderMetrics(mergeMetrics([[one], [other]]))).toBe(
    '# HELP m Of a test.\n# TYPE m gauge\nm{a="x"} 1\nm{a="y"} 5\nm_sum{a="y"} 4\n',
  )
})

test('the text is what a scraper can parse, whatever a label holds', () => {
  const values = [{ labels: { a: 'a"b\\c\nd' }, value: Number.POSITIVE_INFINITY }]
  expect(renderMetrics([metric('sum', 0, { values })])).toContain('m{a="a\\"b\\\\c\\nd"} +Inf\n')
})

test('of a process that has ended the counters stay, and nothing else', () => {
  const ended = [
    metric('sum', 5, { type: 'counter' }),
    metric('sum', 7),
    metric('max', 9, { type: 'counter' }),
  ]
  const kept = countersOf(ended)
  expect(kept).toEqual([ended[0]])
  expect(merged(...kept, metric('sum', 1, { type: 'counter' }))).toEqual([6])
})

test('two processes of the gate: decisions and durations are sums, the view is as old as the oldest', async () => {
  const processes = [0.5, 1.5].map((age) => {
    const metrics = createMetrics({ backends: [], version: '1' })
    metrics.decision({ backend: undefined, verb: undefined, effect: 'deny', code: 'lease_missing' })
    metrics.request(undefined, 0.001)
    metrics.revocationAge(() => age)
    metrics.openStreams(() => 2)
    metrics.policyConverged(() => age < 1)
    metrics.policyInfo('sha256:a')
    return metrics
  })
  const text = renderMetrics(mergeMetrics(await Promise.all(processes.map((metrics) => metrics.snapshot()))))
  for (const line of [
    'leasegate_decisions_total{backend="none",verb="none",effect="deny",code="lease_missing"} 2',
    'leasegate_request_duration_seconds_bucket{le="0.001",backend="none"} 2',
    'leasegate_request_duration_seconds_count{backend="none"} 2',
    'leasegate_revocation_view_age_seconds 1.5',
    'leasegate_open_streams 4',
    'leasegate_policy_converged 0',
    'leasegate_policy_info{digest="sha256:a"} 1',
    'leasegate_build_info{version="1",node="VERSION"} 1'.replace('VERSION', process.version),
  ]) {
    expect(text).toContain(`${line}\n`)
  }
  expect(text).toMatch(/^process_resident_memory_bytes \d+$/m)
})
