// The metrics: what is counted comes out, label values stay bounded, docs/metrics.md is the table.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Backend } from '../../src/enforce/operation.ts'
import { type MetricRow, metricTable } from '../../src/telemetry/metric_table.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { operationOf } from './facts.ts'

const crm: Backend = {
  name: 'crm',
  origin: 'http://127.0.0.1:3000',
  basePath: '',
  pathPrefix: '/crm',
  hosts: [],
  credential: undefined,
  connectTimeoutMs: 1,
  headersTimeoutMs: 1,
  idleTimeoutMs: 1,
  connections: 1,
  maxInFlight: 1,
  upgrade: false,
  env: undefined,
  requireBinding: 'never',
  forwardHeaders: [],
  operations: [operationOf()],
}

const create = () => createMetrics({ backends: [crm], version: '1.2.3' })
const rows: readonly MetricRow[] = Object.values(metricTable)

describe('the metrics', () => {
  it('count every decision under its labels', async () => {
    const metrics = create()
    metrics.decision({ backend: 'crm', verb: 'update', effect: 'allow', code: undefined })
    metrics.decision({ backend: 'crm', verb: 'update', effect: 'allow', code: undefined })
    metrics.decision({ backend: 'crm', verb: 'update', effect: 'deny', code: 'outside_lease' })
    metrics.decision({ backend: undefined, verb: undefined, effect: 'deny', code: 'lease_missing' })
    for (let scrape = 0; scrape < 2; scrape++) {
      const { body } = await metrics.render()
      expect(body).toContain(
        'leasegate_decisions_total{backend="crm",verb="update",effect="allow",code="none"} 2\n',
      )
      expect(body).toContain('{backend="crm",verb="update",effect="deny",code="outside_lease"} 1\n')
      expect(body).toContain('{backend="none",verb="none",effect="deny",code="lease_missing"} 1\n')
    }
  })

  it('have no label value that is neither configured nor in a table', async () => {
    const metrics = create()
    metrics.decision({ backend: 'evil"\n', verb: 'evil', effect: 'deny', code: undefined })
    metrics.request('evil"\n', 1)
    metrics.upstream('evil"\n', 1)
    const { body } = await metrics.render()
    expect(body).not.toContain('evil')
    expect(body).toContain(
      'leasegate_decisions_total{backend="none",verb="none",effect="deny",code="none"} 1',
    )
    expect(body).toContain('leasegate_request_duration_seconds_count{backend="none"} 1')
  })

  it('put durations into cumulative buckets, the bound itself included', async () => {
    const metrics = create()
    for (const seconds of [0.0004, 0.0005, 0.7, 100]) metrics.request('crm', seconds)
    const { body } = await metrics.render()
    const bucket = (le: string) => `leasegate_request_duration_seconds_bucket{le="${le}",backend="crm"}`
    expect(body).toContain(`${bucket('0.0005')} 2\n`)
    expect(body).toContain(`${bucket('0.5')} 2\n`)
    expect(body).toContain(`${bucket('1')} 3\n`)
    expect(body).toContain(`${bucket('60')} 3\n`)
    expect(body).toContain(`${bucket('+Inf')} 4\n`)
    expect(body).toContain('leasegate_request_duration_seconds_sum{backend="crm"} 100.7009\n')
    expect(body).toContain('leasegate_request_duration_seconds_count{backend="crm"} 4\n')
  })

  it('read gauges at each scrape and show one live policy', async () => {
    const metrics = create()
    let age = 0.5
    metrics.revocationAge(() => age)
    metrics.revocationEntries(() => 7)
    metrics.revocationMalformed(() => ({ takenAsRevoked: 3, unreadable: 2 }))
    metrics.openStreams(() => 3)
    metrics.auditFault(() => true)
    metrics.policyConverged(() => true)
    metrics.policyInfo('sha256:a')
    metrics.policyInfo('sha256:b')
    metrics.policyReload('rejected')
    metrics.auditLost(2)
    metrics.budgetNotGivenBack()
    metrics.step('decide', 0.00002)
    expect((await metrics.render()).body).toContain('leasegate_revocation_view_age_seconds 0.5\n')
    age = 1.5
    const { body, contentType } = await metrics.render()
    expect(contentType).toContain('text/plain')
    expect(body).not.toContain('sha256:a')
    for (const line of [
      'leasegate_revocation_view_age_seconds 1.5',
      'leasegate_revocation_entries 7',
      'leasegate_revocation_entries_malformed{fate="taken_as_revoked"} 3',
      'leasegate_revocation_entries_malformed{fate="unreadable"} 2',
      'leasegate_open_streams 3',
      'leasegate_audit_fault 1',
      'leasegate_policy_converged 1',
      'leasegate_policy_info{digest="sha256:b"} 1',
      'leasegate_policy_reloads_total{result="reloaded"} 0',
      'leasegate_policy_reloads_total{result="rejected"} 1',
      'leasegate_audit_lost_total 2',
      'leasegate_budget_not_given_back_total 1',
      'leasegate_step_duration_seconds_bucket{le="0.000025",step="decide"} 1',
      `leasegate_build_info{version="1.2.3",node="${process.version}"} 1`,
    ]) {
      expect(body).toContain(`${line}\n`)
    }
    expect(body).toMatch(/leasegate_event_loop_delay_seconds\{quantile="0.99"\} [\d.e-]+\n/)
    expect(body).toMatch(/\nprocess_resident_memory_bytes \d/)
  })

  it('are exposed exactly as the table says, in lines that a scraper can parse', async () => {
    const { body } = await create().render()
    const exposed = [...body.matchAll(/^# TYPE (leasegate_\w+) (\w+)$/gm)].map(
      ([, name, type]) => `${name} ${type}`,
    )
    expect(exposed.toSorted()).toEqual(rows.map(({ name, type }) => `${name} ${type}`).toSorted())
    for (const { name, help } of rows) expect(body).toContain(`# HELP ${name} ${help}\n`)
    const sample = /^leasegate_[a-z_]+(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? [\d.e+-]+$/
    expect(body.split('\n').filter((line) => line.startsWith('leasegate_') && !sample.test(line))).toEqual([])
  })

  it('are documented in docs/metrics.md', () => {
    const documented = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
    const table = rows.map(({ name, type, labels, help }) => {
      return `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |`
    })
    expect(documented.split('\n').filter((line) => line.startsWith('| `'))).toEqual(table)
  })
})
