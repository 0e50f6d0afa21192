// What both stores make of entries that they cannot read: of a damaged file, or of a newer version.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { encodeEntry, keyOf } from '../../src/stores/entry.ts'
import { openRedis } from '../../src/stores/redis.ts'
import { revokeArguments } from '../../src/stores/revocation_scripts.ts'
import { sharedRedis } from '../support/redis.ts'
import { eventually, found } from './contract.ts'
import { revocation, suspension } from './samples.ts'
import { suspended } from './suspensions_contract.ts'

const server = await sharedRedis()
afterAll(() => server.stop())

/** One state that another hand writes to. */
interface Spoilt {
  open(onError?: (error: Error) => void): Promise<Store>
  /** Puts a text under a key behind the back of the stores, which hear that something has changed. */
  spoil(key: string, text: string): Promise<void>
  read(key: string): Promise<string | null>
  remove(key: string): Promise<void>
  /** As the store keeps it. */
  text(entry: Parameters<typeof encodeEntry>[0]): string
  end(): void
}

function embedded(): Spoilt {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-spoilt-'))
  const path = join(dir, 'state.db')
  let db: DatabaseSync | undefined
  const other = () => (db ??= new DatabaseSync(path))
  return {
    open: (onError) => openEmbedded({ path, maxStalenessMs: 400, ...(onError !== undefined && { onError }) }),
    async spoil(key, text) {
      other()
        .prepare('INSERT OR REPLACE INTO revocations (key, keep_until, entry) VALUES (?, 9e9, ?)')
        .run(key, text)
    },
    async read(key) {
      const row = other().prepare('SELECT entry FROM revocations WHERE key = ?').get(key)
      return row === undefined ? null : String(row.entry)
    },
    async remove(key) {
      other().prepare('DELETE FROM revocations WHERE key = ?').run(key)
    },
    text: encodeEntry,
    end() {
      db?.close()
      rmSync(dir, { recursive: true })
    },
  }
}

function redis(): Spoilt {
  const prefix = server.prefix()
  const [hash, stream] = [`${prefix}{leasegate}:revocations`, `${prefix}{leasegate}:feed`]
  const client = new Redis(server.url)
  const options = { url: server.url, prefix, maxStalenessMs: 400, heartbeatMs: 50, commandTimeoutMs: 5000 }
  return {
    open: (onError) => openRedis({ ...options, ...(onError !== undefined && { onError }) }),
    async spoil(key, text) {
      const [newest] = await client.xrevrange(stream, '+', '-', 'COUNT', 1)
      const told = ['previous', newest?.[0] ?? '0-0', 'key', key, 'entry', text]
      await client
        .multi()
        .hset(hash, key, text)
        .xadd(stream, '*', ...told)
        .exec()
    },
    read: (key) => client.hget(hash, key),
    async remove(key) {
      await client.hdel(hash, key)
    },
    text: (entry) => revokeArguments(entry).join(' '),
    end: () => client.disconnect(),
  }
}

describe.each([
  ['embedded', embedded],
  ['redis', redis],
])('in the %s store', (_, setUp) => {
  let state: Spoilt
  let stores: Store[]
  const open = async (onError?: (error: Error) => void) => {
    const store = await state.open(onError)
    stores.push(store)
    return store
  }
  const age = (store: Store) => eventually(() => store.revocations.ageMs(Date.now()))

  beforeEach(() => {
    state = setUp()
    stores = []
  })
  afterEach(async () => {
    await Promise.all(stores.map((store) => store.close()))
    state.end()
  })

  const valid = JSON.stringify(revocation('lse_1'))
  it.each([
    ['nothing', ''],
    ['garbage', 'garbage'],
    ['half of it', `1 9e9 ${valid.slice(0, 40)}`],
    ['a newer form', 'v2:AAAA'],
    ['a cutoff that is no number', `1 9e9 ${valid.replace(/"cutoff":\d+/, '"cutoff":"soon"')}`],
    ['a null', '1 9e9 null'],
    ['the entry of another key', 'other'],
  ])('a revocation whose text is %s holds for good, is counted, and stays as it is', async (what, given) => {
    const text = given === 'other' ? state.text(revocation('lse_2')) : given
    const errors: string[] = []
    const running = await open((error) => errors.push(error.message))
    await state.spoil('lease\nlse_1', text)
    await eventually(() => found(running, 'lse_1', { issuedAt: 9e12 })).toBeDefined()
    const later = await open()
    for (const store of [running, later]) {
      expect(found(store, 'lse_1', { issuedAt: 9e12 })).toMatchObject({
        by: 'leasegate',
        reason: expect.stringContaining('for good'),
      })
      expect(found(store, 'lse_2') !== undefined, what).toBe(given === 'other')
      expect(store.revocations.malformed()).toEqual({ takenAsRevoked: 1, unreadable: 0 })
      expect(store.revocations.faults()).toEqual([
        expect.stringMatching(/for good.*: 1; revoke the same again/),
      ])
      expect(store.revocations.faults().join()).not.toContain('lse_1')
      await age(store).toBeLessThan(400)
    }
    await eventually(() => errors).toEqual([expect.stringContaining('for good')])
    expect(await state.read('lease\nlse_1')).toBe(text)
  })

  it('one that cannot be read is replaced by revoking the same again, everywhere', async () => {
    const [a, b] = [await open(), await open()]
    await state.spoil('agent\nagent:x', 'garbage')
    const at = (store: Store) => found(store, 'agent:x', { scope: 'agent', issuedAt: 9e12 })
    await eventually(() => [at(a), at(b)]).toEqual([expect.anything(), expect.anything()])
    await a.revocations.revoke(revocation('agent:x', { scope: 'agent' }))
    expect(at(a)).toBeUndefined()
    await eventually(() => at(b)).toBeUndefined()
    for (const store of [a, b, await open()]) {
      expect(found(store, 'agent:x', { scope: 'agent' })).toBeDefined()
      expect(store.revocations.faults()).toEqual([])
    }
  })

  it('a known revocation whose text is spoilt is known again, not less, once it can be read', async () => {
    const store = await open()
    await store.revocations.revoke(revocation('agent:x', { scope: 'agent', cutoff: 50 }))
    await state.spoil('agent\nagent:x', 'garbage')
    const at = (issuedAt: number) => found(store, 'agent:x', { scope: 'agent', issuedAt })
    await eventually(() => at(99)).toBeDefined()
    await state.spoil('agent\nagent:x', state.text(revocation('agent:x', { scope: 'agent', cutoff: 20 })))
    await eventually(() => at(99)).toBeUndefined()
    expect(at(50)).toMatchObject({ cutoff: 50 })
  })

  it('one that vanishes unread goes on holding: nobody has said what it was', async () => {
    const store = await open()
    await state.spoil('user\nalice@example.com', 'garbage')
    const at = () => found(store, 'alice@example.com', { scope: 'user' })
    await eventually(at).toBeDefined()
    await state.remove('user\nalice@example.com')
    await store.revocations.revoke(revocation('lse_1'))
    expect(at()).toBeDefined()
  })

  it('listeners hear of it, so that what is under way ends', async () => {
    const store = await open()
    const heard: string[] = []
    store.revocations.watch((entry) => heard.push(keyOf(entry)))
    await state.spoil('task\njira:SUP-1\nhttps://broker.example', 'garbage')
    await state.spoil('suspension\nlse_1', 'garbage')
    await eventually(() => heard.toSorted()).toEqual([
      'suspension\nlse_1',
      'task\njira:SUP-1\nhttps://broker.example',
    ])
  })

  it('a suspension that cannot be read is in force until it is lifted', async () => {
    const store = await open()
    await state.spoil('suspension\nlse_1', 'garbage')
    await eventually(() => suspended(store, 'lse_1')).toMatchObject({ by: 'leasegate' })
    expect(store.revocations.malformed()).toEqual({ takenAsRevoked: 1, unreadable: 0 })
    await store.revocations.suspend(suspension('lse_1', { suspended: false }))
    expect(suspended(store, 'lse_1')).toBeUndefined()
    expect(suspended(await open(), 'lse_1')).toBeUndefined()
  })

  it.each([
    ['of a scope of a newer version', 'planet\nmars'],
    ['under a key that is none', 'x'],
    ['under a damaged key', 'lease\nlse_\ufffd'],
    ['without a value', 'lease\n'],
  ])('one %s makes every view stale, old and new, until it is gone', async (_, key) => {
    const errors: string[] = []
    const running = await open((error) => errors.push(error.message))
    await state.spoil(key, 'garbage')
    await age(running).toBeGreaterThan(400)
    const later = await open()
    await age(later).toBeGreaterThan(400)
    for (const store of [running, later]) {
      await expect(store.ping()).rejects.toMatchObject({ name: 'Unavailable' })
      expect(store.revocations.malformed()).toEqual({ takenAsRevoked: 0, unreadable: 1 })
      expect(store.revocations.faults()).toEqual([expect.stringMatching(/: 1; update Leasegate, or delete/)])
    }
    expect(errors).toEqual([expect.stringContaining('update Leasegate')])
    // What can be read goes on being honoured, and can be added to.
    await running.revocations.revoke(revocation('lse_7'))
    await eventually(() => found(later, 'lse_7')).toBeDefined()
    expect(await state.read(key)).toBe('garbage')
    await state.remove(key)
    for (const store of [running, later]) {
      await age(store).toBeLessThan(400)
      expect(store.revocations.faults()).toEqual([])
    }
  })

  it('more of them than are remembered make the view stale until the last is gone', async () => {
    const store = await open()
    const keys = Array.from({ length: 300 }, (_, n) => `planet\n${n}`)
    for (const key of keys) await state.spoil(key, 'garbage')
    await eventually(() => store.revocations.malformed().unreadable).toBe(300)
    const [last, ...others] = keys
    for (const key of others) await state.remove(key)
    await eventually(() => store.revocations.malformed().unreadable).toBe(1)
    await age(store).toBeGreaterThan(400)
    await state.remove(last!)
    await age(store).toBeLessThan(400)
  })

  it('one that comes twice counts once', async () => {
    const store = await open()
    const text = state.text(revocation('lse_1'))
    for (let i = 0; i < 3; i++) {
      await state.spoil('lease\nlse_1', text)
      await state.spoil('lease\nlse_2', 'garbage')
    }
    await eventually(() => found(store, 'lse_2')).toBeDefined()
    await eventually(() => found(store, 'lse_1')).toMatchObject({ reason: 'laptop stolen' })
    expect(store.revocations.size()).toBe(2)
    expect(store.revocations.malformed()).toEqual({ takenAsRevoked: 1, unreadable: 0 })
  })
})
