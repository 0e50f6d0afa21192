// Records among processes, and what both stores make of records that they cannot read.
import { DatabaseSync } from 'node:sqlite'
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it, test } from 'vitest'
import type { RecordWrite } from '../../src/ports.ts'
import { killed, type RecordStore, recordChild, recordStore } from '../support/record_stores.ts'
import { eventually } from './contract.ts'
import { recordWrite as put } from './samples.ts'

const unreadable = { name: 'Unavailable', message: 'a stored record is malformed' }
let state: RecordStore
afterEach(() => state.end())

test.each(['embedded', 'redis'] as const)(
  'two processes that add one to a record fifty times each, on %s, have added a hundred',
  async (kind) => {
    state = await recordStore(kind)
    const children = await Promise.all([1, 2].map(() => recordChild(state, 'increment', 'x', 50)))
    const tries = await Promise.all(children.map((child) => child.work()))
    for (const count of tries) expect(count).toBeGreaterThanOrEqual(50)
    await Promise.all(children.map(killed))
    expect(await (await state.open()).records.get('action', 'x')).toEqual({
      id: 'x',
      version: 100,
      text: '100',
    })
  },
)

test.each<[string, RecordWrite[]]>([
  ['the same record twice', [put('a'), put('a')]],
  ['more than eight lists', [put('a', { lists: [...'123456789'] })]],
  ['one list twice', [put('a', { lists: ['x', 'x'] })]],
  ['an end that is no number', [put('a', { expiresAt: Number.NaN })]],
  ['an end that never comes', [put('a', { expiresAt: Number.POSITIVE_INFINITY })]],
  ['a place that is no number', [put('a', { at: Number.NaN })]],
  ['a version that is no count', [put('a', { expect: 0.5 })]],
])('a write of records with %s is a bug, and writes nothing', async (_, writes) => {
  state = await recordStore('embedded')
  const { records: port } = await state.open()
  await expect(port.write([put('b'), ...writes])).rejects.toThrow(TypeError)
  expect(await port.get('action', 'a')).toBeUndefined()
  expect(await port.get('action', 'b')).toBeUndefined()
})

describe('the embedded store', () => {
  const change = (sql: string) => {
    const file = new DatabaseSync(state.path)
    file.exec(sql)
    file.close()
  }

  it.each(['0', '-1', '9007199254740993'])(
    'guesses nothing about a record of version %s, and leaves it as it is',
    async (version) => {
      state = await recordStore('embedded')
      const { records } = await state.open()
      await records.write([put('x', { lists: ['l'] })])
      change(`UPDATE records SET version = ${version}`)
      const asked = [
        records.get('action', 'x'),
        records.list('action', 'l', { limit: 1 }),
        records.write([put('y'), put('x', { expect: Number(version) === 0 ? 0 : 1 })]),
      ]
      for (const result of await Promise.allSettled(asked)) {
        expect(result).toMatchObject({ status: 'rejected', reason: { name: 'Unavailable' } })
      }
      expect(await records.get('action', 'y')).toBeUndefined()
    },
  )

  it('purges records and their places in lists once their time is over, and no others', async () => {
    state = await recordStore('embedded')
    const { records } = await state.open()
    const soon = Date.now() / 1000 + 0.2
    const writes = Array.from({ length: 450 }, (_, at) => put(`x${at}`, { expiresAt: soon, lists: ['l'] }))
    await records.write([...writes, put('y', { lists: ['l'] })])
    const file = new DatabaseSync(state.path, { readOnly: true })
    const rows = (table: string) => file.prepare(`SELECT id FROM ${table}`).all()
    await eventually(() => rows('records').length).toBe(1)
    await eventually(() => rows('record_lists').length).toBe(1)
    expect([rows('records'), rows('record_lists')]).toEqual([[{ id: 'y' }], [{ id: 'y' }]])
    file.close()
  })
})

describe('the Redis store', () => {
  const withClient = async (work: (client: Redis, key: (name: string) => string) => Promise<unknown>) => {
    const client = new Redis(state.redis!.url)
    try {
      await work(client, (name) => `${state.prefix}{leasegate}:${name}`)
    } finally {
      client.disconnect()
    }
  }

  it.each<[string, Record<string, string>]>([
    ['without a version', { text: '{}', lists: '[]' }],
    ['without text', { version: '1', lists: '[]' }],
    ['without its lists', { version: '1', text: '{}' }],
    ['with a version that is no number', { version: 'x', text: '{}', lists: '[]' }],
    ['of version 0', { version: '0', text: '{}', lists: '[]' }],
    ['of version 01', { version: '01', text: '{}', lists: '[]' }],
    ['of version 1.0', { version: '1.0', text: '{}', lists: '[]' }],
    ['of version 1e0', { version: '1e0', text: '{}', lists: '[]' }],
    ['with lists that are no JSON', { version: '1', text: '{}', lists: '[' }],
    ['with lists that are no list', { version: '1', text: '{}', lists: '{}' }],
    ['with lists that are no names', { version: '1', text: '{}', lists: '[7]' }],
  ])('guesses nothing about a record %s', async (_, fields) => {
    state = await recordStore('redis')
    const { records } = await state.open()
    await records.write([put('x', { lists: ['l'] })])
    await withClient((client, key) =>
      client.multi().del(key('record:action:x')).hset(key('record:action:x'), fields).exec(),
    )
    await expect(records.get('action', 'x')).rejects.toMatchObject(unreadable)
    await expect(records.list('action', 'l', { limit: 9 })).rejects.toMatchObject(unreadable)
    // A change needs no text.
    if ('text' in fields) {
      for (const expected of [0, 1]) {
        const writes = [put('y'), put('x', { expect: expected })]
        await expect(records.write(writes)).rejects.toMatchObject(unreadable)
      }
    }
    expect(await records.get('action', 'y')).toBeUndefined()
  })

  it.each(['record:action:x', 'records:action:l', 'until:action:l'])(
    'writes all or nothing where another hand has put something else at %s',
    async (name) => {
      state = await recordStore('redis')
      const { records } = await state.open()
      await withClient((client, key) => client.set(key(name), 'text'))
      const writes = [put('a', { lists: ['m'] }), put('x', { lists: ['l'] })]
      await expect(records.write(writes)).rejects.toMatchObject({
        name: 'Unavailable',
        message: 'Redis: WRONGTYPE',
      })
      expect(await records.get('action', 'a')).toBeUndefined()
      expect(await records.list('action', 'm', { limit: 9 })).toEqual([])
    },
  )

  it('forgets the places of records that have expired, a few with each that comes', async () => {
    state = await recordStore('redis')
    const { records } = await state.open()
    const over = Date.now() / 1000 - 3600
    await records.write([put('stays', { lists: ['l'] })])
    await withClient(async (client, key) => {
      for (let at = 0; at < 30; at++) {
        await client.zadd(key('records:action:l'), over, `old${at}`)
        await client.zadd(key('until:action:l'), over, `old${at}`)
      }
      for (let at = 0; at < 15; at++) await records.write([put(`new${at}`, { lists: ['l'] })])
      expect(await client.zcard(key('records:action:l'))).toBe(16)
      expect(await client.zcard(key('until:action:l'))).toBe(16)
    })
    expect(await records.list('action', 'l', { limit: 99 })).toHaveLength(16)
  })

  it('finds the newest behind any number of places that nobody is at any more', async () => {
    state = await recordStore('redis')
    const { records } = await state.open()
    await records.write([put('behind', { lists: ['l'] })])
    const { at } = put('x')
    await withClient((client, key) =>
      client.zadd(
        key('records:action:l'),
        ...Array.from({ length: 450 }, (_, n) => [at + 1 + n, `gone${n}`]).flat(),
      ),
    )
    expect(await records.list('action', 'l', { limit: 1 })).toMatchObject([{ id: 'behind' }])
  })

  it('does not list a record in a place that it has left without anybody noticing', async () => {
    state = await recordStore('redis')
    const { records } = await state.open()
    await records.write([put('x', { lists: ['pending'] })])
    await withClient((client, key) => client.del(key('record:action:x')))
    await records.write([put('x', { lists: ['all'] })])
    expect(await records.list('action', 'pending', { limit: 9 })).toEqual([])
    expect(await records.list('action', 'all', { limit: 9 })).toHaveLength(1)
  })
})
