// Who is up: processes tell each other through the store, one that dies goes by itself, and a store that is away stops
// nothing. `/status` over a real socket.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { renameSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it, test } from 'vitest'
import { createControlListener } from '../../src/http/control.ts'
import { operator } from '../../src/http/operators.ts'
import { type GateNow, type PresenceParts, startPresence } from '../../src/http/presence.ts'
import { readStatus, statusEndpoint } from '../../src/http/status.ts'
import type { Store } from '../../src/ports.ts'
import { type RecordStore, recordStore } from '../support/record_stores.ts'
import { gateNow, gateSelf } from './presence_samples.ts'

let state: RecordStore
const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const closer of closers.splice(0).reverse()) await closer()
  await state.end()
})

const soon = { timeout: 20_000, interval: 10 }
const idsOf = async (store: Store) =>
  (await readStatus({ store, clock: Date.now })).gates.map(({ id }) => id).toSorted()

function present(store: Store, id: string, over: Partial<PresenceParts> = {}) {
  const presence = startPresence({
    store,
    self: gateSelf(id),
    now: async () => gateNow,
    clock: Date.now,
    onError: (error) => expect(error).toBeUndefined(),
    everyMs: 50,
    keepMs: 5000,
    ...over,
  })
  closers.push(() => presence.close())
  return presence
}

describe.each<Store['kind']>(['embedded', 'redis'])('on the %s store', (kind) => {
  it('two see each other, each as it says, and one that is closed is gone at once', async () => {
    state = await recordStore(kind)
    const [a, b] = [await state.open(), await state.open()]
    const faults = ['revocations: view is 9 s old']
    const first = present(a, 'gate_a')
    present(b, 'gate_b', { now: async () => ({ ...gateNow, ready: false, faults, revocation_age_ms: null }) })
    await expect.poll(() => idsOf(a), soon).toEqual(['gate_a', 'gate_b'])
    const { gates, now } = await readStatus({ store: b, clock: Date.now })
    const [mine] = gates.filter(({ id }) => id === 'gate_a')
    expect(mine).toMatchObject({ ...gateSelf('gate_a'), ...gateNow })
    expect(mine!.seen_at).toBeGreaterThanOrEqual(mine!.started_at)
    expect(mine!.seen_at).toBeLessThanOrEqual(now)
    expect(gates.find(({ id }) => id === 'gate_b')).toMatchObject({
      ready: false,
      faults,
      revocation_age_ms: null,
    })
    await first.close()
    expect(await idsOf(b)).toEqual(['gate_b'])
  })

  it('what it says is what is so now', async () => {
    state = await recordStore(kind)
    const store = await state.open()
    let now: GateNow = gateNow
    present(store, 'gate_a', { now: async () => now })
    const digest = async () => (await readStatus({ store, clock: Date.now })).gates[0]?.policy_digest
    await expect.poll(digest, soon).toBe('sha256:00')
    now = { ...gateNow, policy_digest: 'sha256:11' }
    await expect.poll(digest, soon).toBe('sha256:11')
  })
})

test('one that is killed goes after its time, and the others stay', async () => {
  state = await recordStore('embedded')
  const store = await state.open()
  const script = fileURLToPath(new URL('presence-child.ts', import.meta.url))
  const child = spawn(process.execPath, [script, state.path, 'gate_killed'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  closers.push(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  present(store, 'gate_stays')
  await expect.poll(() => idsOf(store), soon).toEqual(['gate_killed', 'gate_stays'])
  child.kill('SIGKILL')
  await once(child, 'exit')
  await expect.poll(() => idsOf(store), soon).toEqual(['gate_stays'])
})

test('a store that is away is told of once each time, and it is up again by itself', async () => {
  state = await recordStore('embedded')
  const store = await state.open()
  const errors: unknown[] = []
  let beats = 0
  const now = async () => {
    beats++
    return gateNow
  }
  present(store, 'gate_a', { now, everyMs: 10, onError: (error) => errors.push(error) })
  for (let outage = 1; outage <= 2; outage++) {
    await expect.poll(() => idsOf(store), soon).toEqual(['gate_a'])
    renameSync(state.path, `${state.path}.away`)
    await expect.poll(() => errors.length, soon).toBe(outage)
    const before = beats
    await expect.poll(() => beats, soon).toBeGreaterThan(before + 3)
    expect(errors).toHaveLength(outage)
    renameSync(`${state.path}.away`, state.path)
    const { seen_at: seen = 0 } = (await readStatus({ store, clock: Date.now })).gates[0] ?? {}
    const seenAt = async () => (await readStatus({ store, clock: Date.now })).gates[0]?.seen_at
    await expect.poll(seenAt, soon).toBeGreaterThan(seen)
  }
  expect(errors).toEqual([
    expect.objectContaining({ name: 'Unavailable' }),
    expect.objectContaining({ name: 'Unavailable' }),
  ])
})

test('it counts by the clock of the store: one whose own is an hour ahead is no longer up than it is', async () => {
  state = await recordStore('redis')
  const store = await state.open()
  const hour = 3600
  const off = { records: store.records, clockOffset: () => store.clockOffset() + hour }
  present(store, 'gate_a', { store: off, clock: () => Date.now() + hour * 1000 })
  await expect.poll(() => idsOf(store), soon).toEqual(['gate_a'])
  const { gates, now } = await readStatus({ store, clock: Date.now })
  expect(Math.abs(gates[0]!.seen_at - now)).toBeLessThan(hour / 2)
})

describe('GET /status', () => {
  const ask = async (store: Store, roles: Parameters<typeof operator>[2]) => {
    const server = createControlListener({
      endpoints: [statusEndpoint({ store, clock: Date.now })],
      operators: [operator('someone', 'a-token-of-the-test', roles)],
      publicUrl: 'http://control.example',
      onBug: (bug) => expect(bug).toBeUndefined(),
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closers.push(() => server.close())
    const { port } = server.address() as AddressInfo
    const headers = { authorization: 'Bearer a-token-of-the-test', connection: 'close' }
    const response = await fetch(`http://127.0.0.1:${port}/status`, { headers })
    return { status: response.status, body: (await response.json()) as { code?: string; gates?: object[] } }
  }

  it.each([
    ['an operator', ['operator'], 200],
    ['an auditor', ['auditor'], 200],
    ['an admin', ['admin'], 200],
    ['an approver', ['approver'], 403],
    ['somebody without a role', [], 403],
  ] as const)('answers %s', async (_, roles, status) => {
    state = await recordStore('embedded')
    const store = await state.open()
    present(store, 'gate_a')
    await expect.poll(() => idsOf(store), soon).toEqual(['gate_a'])
    const answer = await ask(store, { roles })
    expect(answer.status).toBe(status)
    if (status === 200)
      expect(answer.body).toMatchObject({ gates: [{ id: 'gate_a' }], now: expect.any(Number) })
    else expect(answer.body.code).toBe('operator_not_allowed')
  })

  it.each([
    ['no JSON', '{'],
    ['no gate', '{"id":"gate_a"}'],
    ['another id', JSON.stringify({ ...gateSelf('gate_b'), ...gateNow, started_at: 1, seen_at: 1 })],
    [
      'faults that are text',
      JSON.stringify({ ...gateSelf('gate_a'), ...gateNow, started_at: 1, seen_at: 1, faults: 'x' }),
    ],
  ])('guesses nothing about a gate whose record is %s', async (_, text) => {
    state = await recordStore('embedded')
    const store = await state.open()
    const times = { expiresAt: 9e9, at: 1 }
    await store.records.write([{ kind: 'gate', id: 'gate_a', expect: 0, text, lists: ['up'], ...times }])
    expect(await ask(store, { roles: ['admin'] })).toMatchObject({
      status: 503,
      body: { code: 'evidence_unavailable' },
    })
  })
})
