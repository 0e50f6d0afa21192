// `policy replay` as people run it, on what a real gate recorded of real requests.
import { appendFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { eventually, message, startTestGate, type TestGate } from '../support/gate.ts'
import { type Run, Workplace } from './process.ts'

let gate: TestGate
let place: Workplace
let candidate: string
let deleted: string

/** What the gate was asked, in this order. */
const asked = [
  { target: '/crm/customers/1' },
  { target: '/crm/customers/2?view=qv_5511' },
  { target: '/crm/customers' },
  { target: '/crm/customers?page=qv_5511' },
  { method: 'PUT', target: '/crm/customers/1', body: '{"card":"body_4111"}' },
  { method: 'DELETE', target: '/crm/customers/1' },
] as const

beforeAll(async () => {
  gate = await startTestGate()
  place = await Workplace.open()
  await place.compilePolicy()
  const token = gate.token()
  for (const each of asked) {
    const fields = 'body' in each ? ['Content-Type: application/json'] : []
    const { headers } = await gate.ask(message({ ...each, token, fields }))
    deleted = String(headers['decision-id'])
  }
  await gate.ask(message({}))
  await gate.ask(message({ token, target: '/crm/nowhere' }))
  await eventually(() => gate.records().length === asked.length + 2, 'the records')
}, 60_000)
afterAll(async () => {
  await place[Symbol.asyncDispose]()
  await gate.close()
})

beforeEach(() => {
  candidate = place.path('candidate')
  rmSync(candidate, { recursive: true, force: true })
  cpSync(join(gate.dir, 'policies'), candidate, { recursive: true })
})

/** Changes the candidate's rules; its tests were written for others. */
function change(from: string, to: string): void {
  const file = join(candidate, 'authz.rego')
  const rego = readFileSync(file, 'utf8')
  expect(rego).toContain(from)
  writeFileSync(file, rego.replace(from, to))
  rmSync(join(candidate, 'authz_test.rego'))
}

const profileVerb = 'profile_permits_verb if {\n'

function replay(...args: string[]): Promise<Run> {
  return place.run(['policy', 'replay', '--candidate', candidate, '-c', gate.configFile, ...args])
}

async function reportOf(...args: string[]) {
  const { code, stdout } = await replay('--json', ...args)
  return { code, ...JSON.parse(stdout) }
}

const notAsked = {
  name: 'not_asked',
  count: 2,
  of: [
    { name: 'lease_missing', count: 1 },
    { name: 'operation_unmapped', count: 1 },
  ],
  rest: 0,
}

test('the policy that decided changes nothing', async () => {
  const report = await reportOf('--fail-on', 'changed')
  expect(report).toMatchObject({
    code: 0,
    ok: true,
    digest: gate.running.policyDigest(),
    records: 8,
    replayed: 6,
    changed: 0,
    other_reasons: { count: 0 },
    effects: { allow: { allow: 5 }, hold: { hold: 1 } },
    not_replayed: [notAsked],
  })
})

test('a rule that denies lists flips the lists and nothing else, and names them', async () => {
  change(profileVerb, `${profileVerb}\tinput.request.verb != "list"\n`)
  const report = await reportOf('--fail-on=newly-allowed')
  expect(report).toMatchObject({ code: 0, ok: true, failed: [], replayed: 6, changed: 2, newly_denied: 2 })
  const lists = gate.records().filter(({ what }) => what.verb === 'list')
  expect(report.flips).toEqual([
    {
      agent: 'agent:support-triage',
      verb: 'list',
      operation: 'crm GET /customers',
      before: 'allow',
      after: 'deny',
      count: 2,
      examples: lists.map(({ decision_id }) => decision_id),
    },
  ])
  const { code, stdout } = await replay(
    ...['--examples', '1', '--fail-on', 'newly-denied', '--fail-on', 'newly-allowed'],
  )
  expect(code).toBe(1)
  expect(stdout).toMatch(/2 {2}allow → deny {2}agent:support-triage {2}list {2}crm GET \/customers\n/)
  const command = `leasegate policy explain ${lists[0]!.decision_id} --dir ${candidate} -c ${gate.configFile}`
  expect(stdout).toContain(`${command}\n`)
  const explained = await place.run(command.split(' ').slice(1))
  expect(explained.stdout).toContain('Today it answers deny, where allow was decided.')
  expect(stdout).toMatch(/2 {2}ended before policy was asked.*lease_missing, operation_unmapped/)
  expect(stdout).toMatch(/^fail 2 newly-denied$/m)
  expect(stdout).not.toContain('fail 0')
})

test('what was refused is newly allowed by a rule that lets it through', async () => {
  change('harmless if input.request.risk == "low"', 'harmless if input.request.risk in {"low", "high"}')
  const report = await reportOf('--fail-on=newly-allowed')
  expect(report).toMatchObject({ code: 1, newly_allowed: 1, newly_denied: 0 })
  expect(report.flips).toMatchObject([{ before: 'hold', after: 'allow', examples: [deleted] }])
})

test('a candidate that reads bodies is not asked about those that were redacted', async () => {
  change(profileVerb, `${profileVerb}\tnot input.request.body.card\n`)
  const report = await reportOf('--fail-on', 'changed')
  expect(report).toMatchObject({ code: 0, replayed: 5, changed: 0 })
  expect(report.not_replayed).toContainEqual({
    name: 'redacted',
    count: 1,
    of: [{ name: 'request.body', count: 1 }],
    rest: 0,
  })
  expect(gate.auditText()).not.toMatch(/body_4111|qv_5511/)
})

test('a candidate that could not go live exits 1 and says why', async () => {
  change(profileVerb, `${profileVerb}\tinput.request.vreb == "read"\n`)
  const { code, stdout } = await replay()
  expect([code, stdout]).toEqual([1, expect.stringMatching(/authz\.rego:\d+:\d+.*vreb/)])
  expect(await reportOf()).toMatchObject({ code: 1, ok: false, diagnostics: [{ file: 'authz.rego' }] })
})

describe('a compiled candidate', () => {
  beforeEach(() => {
    candidate = place.path('policies')
  })

  test('may read anything, so that nothing redacted is replayed under it', async () => {
    const { code, stdout, stderr } = await replay()
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('every decision has the same effect')
    expect(stdout).toMatch(/3 {2}redacted, and the candidate reads it .*request\.query 2, request\.body/)
  })

  test('rotated, compressed and damaged files are read, and the damage is named by its line', async () => {
    mkdirSync(place.path('old'), { recursive: true })
    const packed = place.path('old/audit.jsonl.2.gz')
    writeFileSync(packed, gzipSync(gate.auditText()))
    const cut = place.write('old/audit.jsonl.1', gate.auditText())
    appendFileSync(cut, '{"time":"2026-0\n')
    const lines = gate.auditText().split('\n').length
    const report = await reportOf('--audit', packed, cut)
    expect(report).toMatchObject({ code: 0, files: [packed, cut], records: 17, replayed: 6 })
    expect(report.not_replayed).toContainEqual({
      name: 'damaged',
      count: 1,
      of: [{ name: `${cut}:${lines}`, count: 1 }],
      rest: 0,
    })
  })

  test.each([
    [['--since', '1h'], 8],
    [['--since', '2026-01-01', '--until', '1h'], 0],
    [['--until', '2026-01-01T09:30'], 0],
    [['--since', '1h', '--until', '2099-01-01T00:00:00+02:00'], 8],
  ])('%s: %i records', async (args, records) => {
    expect(await reportOf(...args)).toMatchObject({ code: 0, records })
  })

  test('nothing replayed is not nothing changed', async () => {
    const { code, stdout } = await replay('--until', '2026-01-01', '--fail-on', 'newly-allowed')
    expect([code, stdout]).toEqual([1, expect.stringContaining('nothing was replayed')])
  })

  test.each([
    [
      'a file that is not there',
      ['--audit', 'none.jsonl'],
      'none.jsonl: no such file; name audit files with --audit',
    ],
    ['a moment that is none', ['--since', 'yesterday'], 'Write 24h'],
    ['a change that is none', ['--fail-on', 'any'], 'Allowed choices are'],
    ['a candidate that is none', ['--candidate', 'nowhere'], 'nowhere: no such directory'],
  ])('%s exits 2', async (_name, args, said) => {
    const { code, stderr } = await replay(...args)
    expect([code, stderr]).toEqual([2, expect.stringContaining(said)])
  })

  test('a compressed file that was cut exits 2: a report without the rest would look whole', async () => {
    const cut = place.path('cut.gz')
    writeFileSync(cut, gzipSync(gate.auditText()).subarray(0, -10))
    const { code, stderr } = await replay('--audit', cut)
    expect([code, stderr]).toEqual([2, expect.stringContaining('cut.gz: cannot be read to its end')])
  })
})
