// The revocation drill against gates that run: what it proves when all is well, and that it fails, and says what to
// do, whenever a gate would go on accepting. Bounds of seconds are safety nets; nothing here is timed.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { revocationScopes } from '../../src/lease/lease.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/backends.ts'
import { pairOf, writePair } from '../support/certificates.ts'
import type { Json } from '../support/tokens.ts'
import { type Run, Workplace } from './process.ts'

let backend: RecordingBackend
let places: Workplace[]
/** Three gates under one name with one signing key: two on one store, one on a store of its own. */
let first: Workplace
let second: Workplace
let apart: Workplace

const publicOrigin = 'http://gate.example'

beforeAll(async () => {
  backend = await startRecordingBackend()
  places = await Promise.all([Workplace.open(), Workplace.open(), Workplace.open()])
  ;[first, second, apart] = places as [Workplace, Workplace, Workplace]
  for (const place of places) await place.compilePolicy()
  // The first start makes key and token; the others have copies.
  configure(first)
  await first.serve()
  for (const place of [second, apart]) share(place, ['broker.key', 'control.token'])
  configure(second, { state: { path: first.path('data/leasegate.db') } })
  configure(apart)
  await Promise.all([second.serve(), apart.serve()])
}, 90_000)
afterAll(async () => {
  for (const place of places) await place[Symbol.asyncDispose]()
  await backend.close()
})

function configure(place: Workplace, changes: Json = {}): void {
  const issuer = 'http://broker.example'
  place.configure(backend.url, {
    public_origin: publicOrigin,
    broker: { issuer },
    issuers: [{ issuer, jwks: { local: true } }],
    ...changes,
  })
}

function share(place: Workplace, files: readonly string[]): void {
  mkdirSync(place.path('data'), { recursive: true, mode: 0o700 })
  for (const file of files) cpSync(first.path(`data/${file}`), place.path(`data/${file}`))
}

const gates = (...at: Workplace[]) => at.flatMap(({ origin }) => ['--gate', origin])
/** Long enough for a machine that has much else to do. */
const bound = '5s'
const drill = (place: Workplace, ...args: string[]) =>
  place.run(['drill', 'revoke', '--config', place.config, '--bound', bound, ...args])
/** For drills that have to fail: what goes on for a second goes on. */
const shortly = ['--bound', '1s']
const lastLine = ({ stdout }: Run) => stdout.trimEnd().split('\n').at(-1)!
const exercises = ['suspend', 'resume', ...revocationScopes]

function audit(place: Workplace): Json[] {
  const lines = readFileSync(place.path('data/audit.jsonl'), 'utf8').trimEnd().split('\n')
  return lines.map((line) => JSON.parse(line) as Json)
}

describe('gates that share their state', { timeout: 120_000 }, () => {
  test('pass, with a row for each scope and a line for the auditor', async () => {
    const run = await drill(first, ...gates(first, second))
    expect(run.stderr).toContain(`POST http://127.0.0.1:${first.ports.control}/revocations`)
    expect(lastLine(run)).toMatch(
      /^PASS revocation drill \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ: 7 scopes, 2 gates, 2 workers, slowest refusal [\d.]+ ms, bound 5000 ms, 0 calls accepted after it$/,
    )
    expect(run.code).toBe(0)
    const rows = run.stdout.split('\n').filter((line) => line.endsWith('  ok'))
    expect(rows.map((row) => row.split(' ')[0])).toEqual(exercises)
    // What went through is in the audit file as every call is, and nothing of the drill is alive.
    const calls = audit(second).filter((line) => (line.what as Json | undefined)?.backend === 'leasegate')
    expect(calls.filter(({ outcome }) => (outcome as Json).ended === 'revoked_midway')).not.toEqual([])
    const alive = await first.run(['lease', 'list', '--config', first.config, '--state', 'active', '--json'])
    expect(JSON.parse(alive.stdout)).toEqual([])
    expect(backend.requests).toEqual([])
  })

  test('pass for programs, as often as asked', async () => {
    const run = await drill(first, ...gates(first), '--repeat', '2', '--json')
    const verdict = JSON.parse(run.stdout) as { rows: Json[] } & Json
    expect([run.code, run.stderr]).toEqual([0, ''])
    expect(verdict).toMatchObject({ passed: true, gates: 1, workers: 1, scopes: 7, accepted_late: 0 })
    expect(verdict.rows.map(({ exercise }) => exercise)).toEqual(exercises)
    expect(verdict.rows.filter(({ problems }) => (problems as string[]).length > 0)).toEqual([])
  })

  test('pass through the store where no control listener is at hand', async () => {
    const away = await Workplace.open()
    await using _ = away
    share(away, ['broker.key', 'control.token'])
    await away.compilePolicy()
    configure(away, { state: { path: first.path('data/leasegate.db') } })
    const run = await drill(away, ...gates(second))
    expect(run.stderr).toContain('the state store directly')
    expect(lastLine(run)).toMatch(/^PASS /)
    const named = await drill(away, ...gates(second), '--control', `http://127.0.0.1:${away.ports.control}`)
    expect([named.code, lastLine(named)]).toEqual([
      1,
      expect.stringMatching(/^FAIL .*--control: .*ECONNREFUSED/),
    ])
  })
})

describe('a gate on a store of its own', { timeout: 120_000 }, () => {
  test('fails: it goes on accepting, and is named', async () => {
    const run = await drill(first, ...gates(first, apart), ...shortly)
    expect(run.code).toBe(1)
    expect(lastLine(run)).toMatch(
      /^FAIL revocation drill .* 2 gates, 2 workers, not refused everywhere, bound 1000 ms, [1-9]\d* calls accepted after it; failed: suspend, lease, /,
    )
    expect(run.stdout).toContain(`${apart.origin} worker 1 (gte_`)
    expect(run.stdout).not.toContain(`${first.origin} worker`)
    expect(run.stdout).toMatch(/agent: .*calls accepted after the bound/)
    expect(run.stdout).toMatch(/agent: 2 streams open after the bound/)
    expect(run.stdout).toContain('use the state store of this configuration')
  })

  test('fails for programs as well', async () => {
    const run = await drill(first, ...gates(apart), '--json', ...shortly)
    expect([run.code, JSON.parse(run.stdout)]).toEqual([1, expect.objectContaining({ passed: false })])
  })
})

describe('a drill that cannot be done fails, and says what to do', { timeout: 60_000 }, () => {
  /** A place to start the drill from, beside the gates. */
  async function beside(changes: Json, shared: readonly string[] = ['broker.key']): Promise<Workplace> {
    const place = await Workplace.open()
    places.push(place)
    share(place, shared)
    await place.compilePolicy()
    configure(place, { state: { path: first.path('data/leasegate.db') }, ...changes })
    return place
  }
  const rows: readonly (readonly [string, () => Promise<Run>, RegExp])[] = [
    [
      'no gate there',
      async () => drill(first, '--gate', `http://127.0.0.1:${(await beside({})).ports.proxy}`),
      /cannot be reached \(ECONNREFUSED\): is it running, and is this its address\? Name gates with --gate/,
    ],
    [
      'a gate under another name',
      async () => drill(await beside({ public_origin: 'http://other.example' }), ...gates(first)),
      /does not answer for other\.example: public_origin is not that of the gate/,
    ],
    [
      'another signing key',
      async () => drill(await beside({}, []), ...gates(first)),
      /does not take leases that are signed here: issuers, broker\.key_file and public_origin/,
    ],
    [
      'another operator token',
      async () => {
        const place = await beside({ listen: { control: `127.0.0.1:${first.ports.control}` } })
        writeFileSync(place.path('data/control.token'), 'x'.repeat(43), { mode: 0o600 })
        return drill(place, ...gates(first))
      },
      /does not know the operator token in control\.token_file/,
    ],
  ]
  test.each(rows)('%s', async (_, start, said) => {
    const run = await start()
    expect(run.stdout).toMatch(said)
    expect([run.code, lastLine(run)]).toEqual([
      1,
      expect.stringMatching(/^FAIL revocation drill \S+Z: not done, /),
    ])
    expect(run.stdout + run.stderr).not.toMatch(/eyJ| {4}at /)
  })

  test('a policy that has never heard of drills: the lines to add', async () => {
    const place = await beside({ state: { path: './data/own.db' } })
    const profiles = place.path('policies/data/profiles.json')
    const { 'leasegate-drill': line, ...others } = JSON.parse(readFileSync(profiles, 'utf8')) as Json
    writeFileSync(profiles, JSON.stringify(others))
    const served = await place.serve()
    const run = await drill(place, ...gates(place))
    await served.stop('SIGTERM')
    expect([run.code, run.stdout]).toEqual([
      1,
      expect.stringContaining(`"leasegate-drill": ${JSON.stringify(line)}`),
    ])
    expect(run.stdout).toContain('user_entitled if drills')
    expect(run.stdout).toContain('input.request.resource == "leasegate:canary"')
  })

  test('a certificate of an authority of our own: taken with NODE_EXTRA_CA_CERTS, and only then', async () => {
    const place = await beside({ state: { path: './data/own.db' } })
    const ca = await pairOf({ name: 'ca', authority: true })
    const pair = writePair(place.dir, 'gate', await pairOf({ name: 'gate.example', by: ca }))
    const { cert } = writePair(place.dir, 'ca', ca)
    const tls = { proxy: pair }
    configure(place, { public_origin: 'https://gate.example', tls, state: { path: './data/own.db' } })
    const served = await place.serve()
    const args = ['drill', 'revoke', '-c', place.config, '--bound', bound]
    const gate = ['--gate', `https://127.0.0.1:${place.ports.proxy}`]
    const untrusted = await place.run([...args, ...gate])
    const trusted = await place.run([...args, ...gate], { NODE_EXTRA_CA_CERTS: cert })
    await served.stop('SIGTERM')
    expect([untrusted.code, untrusted.stdout]).toEqual([
      1,
      expect.stringContaining('set NODE_EXTRA_CA_CERTS'),
    ])
    expect([trusted.code, lastLine(trusted)]).toEqual([0, expect.stringMatching(/^PASS /)])
  })
})

test.each([
  ['no gate', ['--gate', 'gate.example'], '--gate gate.example: write scheme and authority'],
  ['a bound that is none', ['--bound', '0'], '--bound: write a duration'],
  ['a number that is none', ['--repeat', '1.5'], '--repeat is a number from 1 to 1000'],
  ['an unknown option', ['--scope', 'agent'], "unknown option '--scope'"],
])('%s is a usage error', async (_, args, said) => {
  const run = await drill(first, ...args)
  expect([run.code, run.stderr, run.stdout]).toEqual([2, expect.stringContaining(said), ''])
})
