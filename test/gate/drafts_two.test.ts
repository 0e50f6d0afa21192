// Two gates as processes of their own on one store, on SQLite and on Redis: a released draft is executed by exactly
// one of them, once, also when they are killed in the middle or the store is away.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { silentSeconds } from '../../src/approval/release.ts'
import { openStore } from '../../src/compose.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Store } from '../../src/ports.ts'
import { type GateProcess, layShared, startGateProcess } from '../faults/gate_process.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/backends.ts'
import { actionsOf, ended, makeDraft, type Place, release } from '../support/drafts.ts'
import { backendCredential, crmOperations, eventually, grantsFor, publicOrigin } from '../support/gate.ts'
import { ask } from '../support/raw.ts'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { type Json, type TestIssuer, testIssuer } from '../support/tokens.ts'

const dir = mkdtempSync(join(tmpdir(), 'leasegate-drafts-'))
/** Answers that are held back until the test lets them go. */
let held: (() => void)[] = []
let holdBack = false
let backend: RecordingBackend
let issuer: TestIssuer
let redis: TestRedis
beforeAll(async () => {
  issuer = testIssuer({ audience: publicOrigin })
  await layShared(dir, issuer)
  redis = await startRedis()
  backend = await startRecordingBackend((_, res) => {
    const answer = () => void res.end('{"ok":true}')
    if (holdBack) held.push(answer)
    else answer()
  })
})
afterAll(async () => {
  await Promise.all([backend.close(), redis.stop()])
  rmSync(dir, { recursive: true, force: true })
})
beforeEach(() => {
  holdBack = false
  held = []
})

let leases = 0
function token(): string {
  const { lease } = issuer.claims() as { lease: Json }
  const id = `lse_two_${leases++}`
  return issuer.token({
    jti: `ltk_${id}`,
    authorization_details: grantsFor('crm'),
    lease: { ...lease, id, session: id, stage: 'draft' },
  })
}

const seenWith = (body: string) => backend.requests.filter((each) => each.body.toString() === body).length

describe.each([
  ['SQLite', () => ({ path: join(dir, 'state.db') })],
  ['Redis', () => ({ store: 'redis', redis: { url: redis.url, prefix: 'drafts:' } })],
])('two gates on %s', (name, stateOf) => {
  let gates: readonly [GateProcess, GateProcess]
  let store: Store
  let place: Place
  beforeAll(async () => {
    const options = { dir, shared: dir, issuer, backendUrl: backend.url, operations: crmOperations }
    const start = (each: string) =>
      startGateProcess({ ...options, name: `${name}-${each}`, state: stateOf() })
    gates = [await start('a'), await start('b')]
    const config = loadConfig(join(dir, `${name}-a.yaml`), { CRM_TOKEN: backendCredential })
    store = await openStore(config)
    let turn = 0
    place = { config, store: async () => store, ask: (bytes) => ask(gates[turn++ % 2]!.port, bytes) }
  })
  afterAll(async () => {
    for (const gate of gates) await gate.kill()
    await store.close()
  })

  const draft = (body: string) =>
    makeDraft(place, { token: token(), fields: ['Content-Type: application/json'], body })

  test('execute each of 40 drafts that are released at once exactly once', async () => {
    const bodies = Array.from({ length: 40 }, (_, at) => `{"${name}":${at}}`)
    const ids: string[] = []
    for (const body of bodies) ids.push(await draft(body))
    expect(await Promise.all(ids.map((id) => release(place, id)))).toEqual(bodies.map(() => true))
    const over = await Promise.all(ids.map((id) => ended(place, id, 30)))
    expect(new Set(over.map(({ state }) => state))).toEqual(new Set(['executed']))
    expect(bodies.map(seenWith)).toEqual(bodies.map(() => 1))
  })

  test('killed in the middle never execute it again, and say that nobody knows what came of it', async () => {
    holdBack = true
    const body = `{"killed":"${name}"}`
    const id = await draft(body)
    await release(place, id)
    await eventually(() => held.length === 1, 'the request at the backend')
    for (const gate of gates) await gate.kill()
    for (const gate of gates) await gate.start()
    holdBack = false
    const after = await draft(`{"after":"${name}"}`)
    await release(place, after)
    expect((await ended(place, after)).state).toBe('executed')
    const actions = await actionsOf(place)
    const kept = await actions.get(id)
    expect(kept?.action.state).toBe('executing')
    // A minute later.
    const aliveAt = Date.now() / 1000 - silentSeconds
    await actions.change(kept!, { ...kept!.action, aliveAt })
    expect(await ended(place, id)).toMatchObject({ state: 'failed', outcome: { code: 'interrupted' } })
    expect(seenWith(body)).toBe(1)
  })
})

test('a store that is away when the answer comes gets to know of it when it is back', async () => {
  const state = { store: 'redis', redis: { url: redis.url, prefix: 'away:' } }
  const options = { dir, shared: dir, issuer, backendUrl: backend.url, operations: crmOperations }
  const gate = await startGateProcess({ ...options, name: 'away', state })
  const config = loadConfig(join(dir, 'away.yaml'), { CRM_TOKEN: backendCredential })
  const store = await openStore(config)
  try {
    holdBack = true
    const place = {
      config,
      store: async () => store,
      ask: (bytes: string | Uint8Array) => ask(gate.port, bytes),
    }
    const id = await makeDraft(place, { token: token(), body: '{"away":1}' })
    await release(place, id)
    await eventually(() => held.length === 1, 'the request at the backend')
    redis.freeze()
    held[0]!()
    await eventually(() => gate.output().includes('released drafts wait'), 'the fault in the log')
    redis.thaw()
    expect(await ended(place, id, 30)).toMatchObject({ state: 'executed', outcome: { status: 200 } })
    expect(seenWith('{"away":1}')).toBe(1)
  } finally {
    redis.thaw()
    await gate.kill()
    await store.close()
  }
})
