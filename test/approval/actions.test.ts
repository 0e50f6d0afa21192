// Actions as both stores keep them: one fingerprint never waits twice, bytes come back as they were and open for
// nothing else, and nobody writes over what they have not read.
import fc from 'fast-check'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import type { Action } from '../../src/approval/action.ts'
import { Actions, type HeldCall } from '../../src/approval/actions.ts'
import { createSealer } from '../../src/approval/seal.ts'
import type { Records } from '../../src/ports.ts'
import { recordStore } from '../support/record_stores.ts'
import { actionOf, callOf, leaseOf, sampledAt, yes } from './samples.ts'

const secret = 'a secret of forty-three characters, at least'

describe.each(['embedded', 'redis'] as const)('actions in the %s store', async (kind) => {
  const state = await recordStore(kind)
  afterAll(() => state.end())
  const stores = [await state.open(), await state.open()]
  const { records } = stores[0]!
  const actions = new Actions(records, createSealer(secret))
  const [, other] = stores.map((store) => new Actions(store.records, createSealer(secret)))
  let number = 0
  /** An action of its own for each test. */
  const fresh = (over: Partial<Action> = {}) => actionOf(`act_${number++}`, over)
  const stored = async (over?: Partial<Action>, call = callOf()) => actions.open(fresh(over), call)

  afterEach(async () => {
    for (const { action, version } of await actions.list('all', { limit: 99 })) {
      await records.write([
        { kind: 'action', id: action.id, expect: version, text: undefined, expiresAt: 0, at: 0 },
      ])
    }
  })

  it('one comes back as it was, from every process, under its id and its fingerprint', async () => {
    const repeat = { calls: 5, seconds: 600 }
    const action = fresh({ terms: { ...actionOf('x').terms, repeat }, yes: [yes] })
    expect(await actions.open(action, callOf())).toEqual({ action, version: 1 })
    expect(await other!.get(action.id)).toEqual({ action, version: 1 })
    expect(await other!.latest(action.fingerprint)).toEqual({ action, version: 1 })
    expect(await actions.get('act_unknown')).toBeUndefined()
    expect(await actions.latest('sha-256:unknown')).toBeUndefined()
    expect(await actions.call(fresh())).toBeUndefined()
  })

  it('of twenty that open one fingerprint at once, on whichever process, all get the same action', async () => {
    const fingerprint = 'sha-256:at-once'
    const opened = await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        [actions, other!][at % 2]!.open(fresh({ fingerprint }), callOf()),
      ),
    )
    expect(new Set(opened.map(({ action }) => action.id)).size).toBe(1)
    expect(await actions.list('pending', { limit: 99 })).toEqual([opened[0]])
    expect(await actions.call(opened[0]!.action)).toEqual(callOf())
  })

  it.each<[string, Partial<Action>, boolean]>([
    ['pending', { state: 'pending' }, true],
    ['approved', { state: 'approved' }, true],
    ['executing', { state: 'executing' }, true],
    ['used', { state: 'used' }, false],
    ['refused', { state: 'refused' }, false],
    ['withdrawn', { state: 'withdrawn' }, false],
    ['executed', { state: 'executed' }, false],
    ['failed', { state: 'failed' }, false],
    ['over in time', { expiresAt: sampledAt }, false],
  ])('a fingerprint whose action is %s is asked for anew', async (_, over, same) => {
    const fingerprint = `sha-256:again-${number}`
    const first = await stored({ fingerprint, ...over })
    const again = await actions.open(fresh({ fingerprint }), callOf())
    expect(again.action.id === first.action.id).toBe(same)
    expect((await actions.latest(fingerprint))?.action.id).toBe(again.action.id)
  })

  it('a draft that was replaced has left its old fingerprint, and is found under the new one', async () => {
    const draft = await stored({ kind: 'draft' })
    const next = { ...draft.action, fingerprint: 'sha-256:replaced' }
    const call = callOf({ body: Buffer.from('new') })
    const also = await actions.replacing(draft.action, next, call)
    const replaced = await actions.change(draft, next, also)
    expect(await actions.latest('sha-256:replaced')).toEqual(replaced)
    expect(await actions.call(next)).toEqual(call)
    expect(await actions.call(draft.action)).toBeUndefined()
    expect(await actions.latest(draft.action.fingerprint)).toBeUndefined()
    const again = await stored({ fingerprint: draft.action.fingerprint })
    expect(again.action.id).not.toBe(next.id)
  })

  it('what was read is written over once; who read it as well changes nothing', async () => {
    const kept = await stored()
    const approved = await actions.change(kept, { ...kept.action, state: 'approved', yes: [yes] })
    expect(approved?.version).toBe(2)
    const refused = { by: 'dave@example.com', at: sampledAt, reason: 'no' }
    const late = { ...kept.action, state: 'refused', ended: refused } as const
    expect(await other!.change(kept, late)).toBeUndefined()
    expect(await other!.get(kept.action.id)).toEqual(approved)
    expect(await actions.change({ action: kept.action, version: 3 }, late)).toBeUndefined()
    const uses = [actions, other!, actions].map((each) =>
      each.change(approved!, { ...approved!.action, state: 'used' }),
    )
    expect((await Promise.all(uses)).filter((each) => each !== undefined)).toHaveLength(1)
    expect(await other!.change(approved!, late)).toBeUndefined()
    expect(await actions.get(kept.action.id)).toMatchObject({ version: 3, action: { state: 'used' } })
  })

  it('whoever watches is told of each change made here, and of none that did not come about', async () => {
    const watched = new Actions(records, createSealer(secret))
    const told: string[] = []
    watched.watch((id) => told.push(id))
    const kept = await stored()
    await watched.change(kept, { ...kept.action, state: 'refused' })
    expect(await watched.change(kept, { ...kept.action, state: 'approved' })).toBeUndefined()
    expect(told).toEqual([kept.action.id])
  })

  it('what else is to be written is written with a change, or not at all', async () => {
    const kept = await stored()
    const note = { kind: 'notice', id: kept.action.id, expect: 1, text: '{}', expiresAt: 9e9, at: 1 } as const
    expect(await actions.change(kept, { ...kept.action, state: 'refused' }, [note])).toBeUndefined()
    expect(await actions.get(kept.action.id)).toEqual(kept)
  })

  it('lists those that wait, those that are released, those of a lease, and all, newest first', async () => {
    const ids = async (which: Parameters<Actions['list']>[0], options = { limit: 99 }) =>
      (await other!.list(which, options)).map(({ action }) => action.id)
    const lease = { ...actionOf('x').lease, id: 'lse_2' }
    const first = await stored({ createdAt: sampledAt - 3, kind: 'draft' })
    const second = await stored({ createdAt: sampledAt - 2, lease })
    const third = await stored({ createdAt: sampledAt - 1 })
    const [a, b, c] = [first, second, third].map(({ action }) => action.id)
    expect(await ids('all')).toEqual([c, b, a])
    expect(await ids('pending', { limit: 2 })).toEqual([c, b])
    expect(await ids({ lease: 'lse_2' })).toEqual([b])
    const released = await actions.change(first, { ...first.action, state: 'approved' })
    await actions.change(second, { ...second.action, state: 'approved' })
    expect([await ids('pending'), await ids('released')]).toEqual([[c], [a]])
    await actions.change(released!, { ...first.action, state: 'executed' })
    expect([await ids('released'), await ids('all')]).toEqual([[], [c, b, a]])
  })

  it('a call comes back byte for byte, whatever its bytes', async () => {
    const text = fc.string({ unit: 'binary', maxLength: 40 })
    const calls = fc.record({
      method: text,
      target: text,
      authority: text,
      headers: fc.array(text, { maxLength: 6 }),
      body: fc.uint8Array({ maxLength: 2000 }),
      peer: text,
      provenance: fc.constantFrom('trusted' as const, 'untrusted' as const),
    })
    await fc.assert(
      fc.asyncProperty(calls, async (plain) => {
        const call: HeldCall = { ...plain, lease: leaseOf() }
        const { action } = await stored({}, call)
        const opened = await other!.call(action)
        expect(opened).toEqual({ ...call, body: Buffer.from(call.body) })
        expect(opened?.lease.revocationKeys).toEqual(call.lease.revocationKeys)
      }),
      { numRuns: 25 },
    )
  })

  it('a body of a megabyte, and the answer to it, come back as they were', async () => {
    const body = Buffer.alloc(1 << 20, 'ÿ\0"')
    const { action } = await stored({}, callOf({ body }))
    expect((await other!.call(action))?.body).toEqual(body)
    const response = { status: 201, headers: ['etag', '"1"'], body }
    expect(await actions.response(action)).toBeUndefined()
    expect(await actions.keepResponse(action, response)).toBe(true)
    expect(await other!.response(action)).toEqual(response)
    expect(await actions.keepResponse(action, { ...response, status: 500 })).toBe(false)
    expect(await other!.response(action)).toEqual(response)
  })

  const sealedOf = async (id: string) => (await records.get('call', id))!
  const reseal = async (id: string, change: (text: string) => string) => {
    const { text, version } = await sealedOf(id)
    await records.write([{ kind: 'call', id, expect: version, text: change(text), expiresAt: 9e9, at: 1 }])
  }

  it('the store holds no byte of a call in the clear', async () => {
    const { action } = await stored({}, callOf({ target: '/crm/customers/9821?ssn=123-45-6789' }))
    const { text } = await sealedOf(action.id)
    expect(text).toMatch(/^[\w-]+$/)
    const bytes = Buffer.from(text, 'base64url').toString('latin1')
    for (const plain of ['ssn', '123-45', 'alice@example.com']) expect(bytes).not.toContain(plain)
    const again = await stored({}, callOf({ target: '/crm/customers/9821?ssn=123-45-6789' }))
    expect((await sealedOf(again.action.id)).text).not.toBe(text)
  })

  it('a call opens for its own action, its own fingerprint and its own key alone', async () => {
    const [mine, theirs] = [await stored(), await stored({}, callOf({ method: 'POST' }))]
    expect(await actions.call(mine.action)).toMatchObject({ method: 'DELETE' })
    expect(await actions.call({ ...mine.action, fingerprint: 'sha-256:another' })).toBeUndefined()
    const stranger = new Actions(records, createSealer(`${secret}!`))
    expect(await stranger.call(mine.action)).toBeUndefined()
    // Whoever can write to the store puts one call in the place of another, or an answer in the place of a call.
    const { text } = await sealedOf(theirs.action.id)
    await reseal(mine.action.id, () => text)
    expect(await actions.call(mine.action)).toBeUndefined()
    await actions.keepResponse(mine.action, { status: 200, headers: [], body: new Uint8Array() })
    const response = (await records.get('response', mine.action.id))!
    await reseal(mine.action.id, () => response.text)
    expect(await actions.call(mine.action)).toBeUndefined()
  })

  it('a call that was tampered with does not open, wherever that was', async () => {
    const { action } = await stored()
    const { text } = await sealedOf(action.id)
    const bytes = Buffer.from(text, 'base64url')
    const places = [0, 11, 12, Math.floor(bytes.length / 2), bytes.length - 16, bytes.length - 1]
    for (const place of places) {
      const altered = Buffer.from(bytes)
      altered[place]! ^= 1
      await reseal(action.id, () => altered.toString('base64url'))
      expect(await actions.call(action), `byte ${place}`).toBeUndefined()
    }
    for (const cut of ['', 'A', text.slice(0, 20), text.slice(0, -4), `${text}AAAA`]) {
      await reseal(action.id, () => cut)
      expect(await actions.call(action)).toBeUndefined()
    }
    await reseal(action.id, () => text)
    expect(await actions.call(action)).toBeDefined()
  })

  const base = JSON.parse(JSON.stringify(actionOf('act_bad', { yes: [yes] }))) as Record<string, object>
  const spoilt: [string, unknown][] = [
    ['nothing', undefined],
    ['a list', []],
    ['another id', { ...base, id: 'act_other' }],
    ['a state of a newer version', { ...base, state: 'released' }],
    ['a state that every object has', { ...base, state: 'constructor' }],
    ['an end that is no number', { ...base, expiresAt: 'never' }],
    ['no fingerprint', { ...base, fingerprint: undefined }],
    ['nobody to ask', { ...base, terms: { ...base.terms, approvers: [] } }],
    ['a quorum of none', { ...base, terms: { ...base.terms, quorum: 0 } }],
    ['a quorum that is text', { ...base, terms: { ...base.terms, quorum: '2' } }],
    ['no terms', { ...base, terms: null }],
    ['a yes of nobody', { ...base, yes: [{ ...yes, by: {} }] }],
    ['yes that is no list', { ...base, yes: { length: 2 } }],
    ['a lease without a user', { ...base, lease: { ...base.lease, user: '' } }],
    ['an outcome that is text', { ...base, outcome: 'done' }],
  ]
  it.each(spoilt)('guesses nothing about an action with %s', async (_, value) => {
    const write = (expected: number, text: string | undefined): Parameters<Records['write']>[0][number] => ({
      ...{ kind: 'action', id: 'act_bad', expect: expected, text, expiresAt: 9e9, at: 1 },
      lists: ['spoilt', 'lease:lse_spoilt'],
    })
    await records.write([write(0, value === undefined ? '{"id":"act_bad"' : JSON.stringify(value))])
    const malformed = { name: 'Unavailable', message: 'a stored action is malformed' }
    await expect(actions.get('act_bad')).rejects.toMatchObject(malformed)
    await expect(actions.list({ lease: 'lse_spoilt' }, { limit: 9 })).rejects.toMatchObject(malformed)
    await records.write([write(1, undefined)])
  })
})
