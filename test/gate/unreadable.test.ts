// What callers and operators see of stored revocations that cannot be read (of a damaged store, or of a newer version)
// and of those that are there twice or long over: never a request that should have been refused.
import { DatabaseSync } from 'node:sqlite'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeEntry, keyOf } from '../../src/stores/entry.ts'
import { revokeArguments } from '../../src/stores/revocation_scripts.ts'
import { revocation } from '../stores/samples.ts'
import { eventually, message, startTestGate, type TestGate } from '../support/gate.ts'
import { sharedRedis } from '../support/redis.ts'
import type { Json } from '../support/tokens.ts'

/** A gate, and another hand in its store. */
interface Spoilt {
  readonly gate: TestGate
  /** Writes a text under a key, and everybody on the store hears of it. */
  write(key: string, text: string): Promise<unknown>
  remove(key: string): Promise<unknown>
  /** An entry as the store keeps it. */
  text(entry: ReturnType<typeof revocation>): string
  close(): Promise<void>
}

async function onFile(): Promise<Spoilt> {
  const gate = await startTestGate()
  const { state } = gate.config
  if (state.store !== 'embedded') throw new Error('the gate of this test has a state file')
  const file = new DatabaseSync(state.path)
  const insert = 'INSERT OR REPLACE INTO revocations (key, keep_until, entry) VALUES (?, 9e9, ?)'
  return {
    gate,
    write: async (key, text) => file.prepare(insert).run(key, text),
    remove: async (key) => file.prepare('DELETE FROM revocations WHERE key = ?').run(key),
    text: encodeEntry,
    async close() {
      file.close()
      await gate.close()
    },
  }
}

async function onRedis(): Promise<Spoilt> {
  const server = await sharedRedis()
  const prefix = server.prefix()
  const gate = await startTestGate({
    config: { state: { store: 'redis', redis: { url: server.url, prefix } } },
  })
  const client = new Redis(server.url)
  const [hash, stream] = [`${prefix}{leasegate}:revocations`, `${prefix}{leasegate}:feed`]
  return {
    gate,
    async write(key, text) {
      const [newest] = await client.xrevrange(stream, '+', '-', 'COUNT', 1)
      const told = ['previous', newest?.[0] ?? '0-0', 'key', key, 'entry', text]
      return client
        .multi()
        .hset(hash, key, text)
        .xadd(stream, '*', ...told)
        .exec()
    },
    remove: (key) => client.hdel(hash, key),
    text: (entry) => revokeArguments(entry).join(' '),
    async close() {
      client.disconnect()
      await gate.close()
      await server.stop()
    },
  }
}

describe.each([
  ['a state file', onFile],
  ['Redis', onRedis],
])('in %s', (_, open) => {
  let spoilt: Spoilt
  let gate: TestGate
  beforeAll(async () => {
    spoilt = await open()
    gate = spoilt.gate
  })
  afterAll(() => spoilt?.close())

  /** Under a lease of its own unless told which. */
  async function call(lease?: string): Promise<{ status: number; code: unknown }> {
    const token = lease === undefined ? gate.token() : gate.token({}, { id: lease })
    const answer = await gate.ask(message({ token }))
    return { status: answer.status, code: (JSON.parse(answer.body.toString()) as Json).code }
  }

  const revocations = async () => {
    const { status, checks } = await gate.readiness()
    return { status, ...checks.find(({ name }) => name === 'revocations')! }
  }
  const malformed = async (fate: string) => {
    const line = new RegExp(`^leasegate_revocation_entries_malformed\\{fate="${fate}"\\} (\\d+)$`, 'm')
    return Number(line.exec(await gate.metrics())?.[1])
  }
  const refused = { status: 401, code: 'lease_revoked' }

  test.each([
    ['damaged', 'garbage'],
    ['of a newer version', 'v2:AAAA'],
    ['empty', ''],
  ])(
    'one that is %s kills the lease that its key names, and no other; it is told and counted',
    async (what, text) => {
      const [lease, other] = [`lse_${what.length}`, `lse_other_${what.length}`]
      expect((await call(lease)).status).toBe(200)
      await spoilt.write(`lease\n${lease}`, text)
      await eventually(async () => (await call(lease)).status === 401, 'the refusal')
      expect(await call(lease)).toEqual(refused)
      expect((await call(other)).status).toBe(200)
      expect(await revocations()).toMatchObject({
        status: 200,
        ready: true,
        detail: expect.stringMatching(
          /taken as in force for good.*: 1; revoke the same again to replace them$/,
        ),
      })
      expect(await malformed('taken_as_revoked')).toBe(1)
      expect(gate.logText()).toContain('taken as in force for good')
      expect((await gate.revoke({ lease, reason: 'INC-1' })).status).toBe(201)
      expect((await revocations()).detail).toMatch(/entries$/)
      expect(await malformed('taken_as_revoked')).toBe(0)
      expect(await call(lease)).toEqual(refused)
    },
  )

  test('one that is put right kills what was asked for, and not for good', async () => {
    const user = 'user\nalice@example.com'
    await spoilt.write(user, 'garbage')
    await eventually(async () => (await call()).status === 401, 'the refusal')
    const response = await gate.revoke({ user: 'alice@example.com', reason: 'INC-3' })
    expect(response.status).toBe(201)
    const now = Date.now() / 1000
    const { cutoff, expires_at } = (await response.json()) as { cutoff: number; expires_at: number }
    expect(Math.abs(cutoff - now)).toBeLessThan(600)
    expect(expires_at).toBeLessThan(now + 365 * 86_400)
    const later = async () => {
      const iat = Math.floor(Date.now() / 1000)
      return (await gate.ask(message({ token: gate.token({ iat, nbf: iat }) }))).status === 200
    }
    await eventually(later, 'an answer to a lease of later')
  })

  test('one that is there twice is one', async () => {
    const entry = revocation('lse_twice')
    for (const _ of [1, 2, 3]) await spoilt.write(keyOf(entry), spoilt.text(entry))
    await eventually(async () => (await call('lse_twice')).status === 401, 'the refusal')
    expect(await call('lse_twice')).toEqual(refused)
    const { ready, detail } = await revocations()
    expect([ready, detail]).toEqual([true, expect.stringMatching(/entries$/)])
    const again = await gate.revoke({ lease: 'lse_twice', reason: 'INC-2' })
    expect([200, 201]).toContain(again.status)
    expect(await call('lse_twice')).toEqual(refused)
  })

  test('one that is long over kills what it has to kill, and is no fault', async () => {
    const entry = revocation('old@example.com', { scope: 'user', cutoff: 1_000, expiresAt: 2_000, at: 1_000 })
    await spoilt.write(keyOf(entry), spoilt.text(entry))
    const next = revocation('lse_next')
    await spoilt.write(keyOf(next), spoilt.text(next))
    await eventually(async () => (await call('lse_next')).status === 401, 'the entry behind it')
    expect(await malformed('taken_as_revoked')).toBe(0)
    expect(await malformed('unreadable')).toBe(0)
    expect((await revocations()).status).toBe(200)
    expect((await call('lse_of_today')).status).toBe(200)
  })

  test('one of a scope that this version does not know stops every request until it is gone', async () => {
    await spoilt.write('planet\nmars', 'garbage')
    await eventually(async () => (await call()).status === 503, 'the refusal')
    expect(await call()).toEqual({ status: 503, code: 'evidence_unavailable' })
    expect(await revocations()).toMatchObject({
      status: 503,
      ready: false,
      detail: expect.stringMatching(/does not know, or under a damaged key: 1; update Leasegate, or delete/),
    })
    expect(await malformed('unreadable')).toBe(1)
    expect(gate.logText() + JSON.stringify(await revocations())).not.toContain('mars')
    expect((await call('lse_twice')).status).not.toBe(200)
    await spoilt.remove('planet\nmars')
    await eventually(async () => (await call()).status === 200, 'the answer')
    expect((await revocations()).status).toBe(200)
    expect(await call('lse_twice')).toEqual(refused)
  })
})
