// The promises of lease records and of their usage, the same for every adapter.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { LeaseFilter, LeaseTransition, Store } from '../../src/ports.ts'
import type { Open } from './contract.ts'
import { lease, nowSeconds, use } from './samples.ts'

const done = { from: ['active'], to: 'completed', at: 7, by: 'agent:support', reason: 'done' } as const

const idsOf = async (store: Store, filter: LeaseFilter) =>
  (await store.leases.list(filter)).map((record) => record.id)

export function leases(open: Open): void {
  records(open)
  lists(open)
  changes(open)
  usage(open)
}

function records(open: Open): void {
  it('a lease comes back as it was put, and the newest put stands', async () => {
    const store = await open()
    const record = lease('lse_1', {
      tenant: 'acme',
      login: { issuer: 'https://idp.example', subject: '7' },
      binding: { method: 'dpop', thumbprint: 'x' },
      ancestors: ['lse_0'],
      delegatedBy: [{ id: 'agent:lead', version: '1', profile: 'lead' }],
      statusIndex: 3,
      decision: { id: 'dec_1', reasons: ['ok'], policyDigest: 'sha256:0' },
      details: [{ type: 'lease', constraints: { max_amount: 12.345678901234567 }, empty: [] }],
    })
    await store.leases.put(record)
    expect(await store.leases.get('lse_1')).toEqual(record)
    const revoked = lease('lse_1', { state: 'revoked' })
    await store.leases.put(revoked)
    expect(await store.leases.get('lse_1')).toEqual(revoked)
    expect(await (await open()).leases.get('lse_1')).toEqual(revoked)
    expect(await store.leases.get('lse_2')).toBeUndefined()
    expect(await idsOf(store, { state: 'active', limit: 9 })).toEqual([])
  })

  it('of many leases put at once each is there when its put resolves', async () => {
    const [a, b] = [await open(), await open()]
    const ids = Array.from({ length: 250 }, (_, i) => `lse_${i}`)
    const seen = ids.map(async (id, i) => {
      await (i % 2 === 0 ? a : b).leases.put(lease(id))
      return (i % 2 === 0 ? b : a).leases.get(id)
    })
    expect((await Promise.all(seen)).map((record) => record?.id)).toEqual(ids)
  })

  it('knows which users a provider’s subject stood behind, and mixes up no two of them', async () => {
    const store = await open()
    const login = { issuer: 'https://idp.example', subject: 'a:b' }
    await store.leases.put(lease('lse_1', { login, user: 'alice@example.com' }))
    await store.leases.put(lease('lse_2', { login, user: 'alice@example.com' }))
    await store.leases.put(lease('lse_3', { login, user: 'admin@example.com' }))
    await store.leases.put(lease('lse_4', { user: 'bob@example.com' }))
    const users = (issuer: string, subject: string) => store.leases.usersOf({ issuer, subject })
    expect((await users('https://idp.example', 'a:b')).toSorted()).toEqual([
      'admin@example.com',
      'alice@example.com',
    ])
    expect(await users('https://idp.example:a', 'b')).toEqual([])
    expect(await users('https://idp.example', 'c')).toEqual([])
  })
}

function lists(open: Open): void {
  it('leases are listed newest first, filtered, at most as many as asked for', async () => {
    const store = await open()
    const at = nowSeconds()
    const task = { system: 'jira', id: 'SUP-2', purpose: 'refund' }
    await store.leases.put(lease('lse_1', { issuedAt: at - 3, session: 'ses_2', tenant: 'acme' }))
    await store.leases.put(lease('lse_2', { issuedAt: at - 1, agent: 'agent:billing', state: 'suspended' }))
    await store.leases.put(lease('lse_3', { issuedAt: at - 2, user: 'bob@example.com', task }))
    await store.leases.put(lease('lse_4', { issuedAt: at, agent: 'agent:billing', task, tenant: 'acme' }))
    const ids = (filter: LeaseFilter) => idsOf(store, filter)
    expect(await ids({ limit: 10 })).toEqual(['lse_4', 'lse_2', 'lse_3', 'lse_1'])
    expect(await ids({ limit: 2 })).toEqual(['lse_4', 'lse_2'])
    expect(await ids({ limit: 0 })).toEqual([])
    expect(await ids({ limit: -1 })).toEqual([])
    expect(await ids({ agent: 'agent:billing', limit: 10 })).toEqual(['lse_4', 'lse_2'])
    expect(await ids({ user: 'bob@example.com', limit: 10 })).toEqual(['lse_3'])
    expect(await ids({ task: 'jira:SUP-2', limit: 10 })).toEqual(['lse_4', 'lse_3'])
    expect(await ids({ agent: 'agent:billing', task: 'jira:SUP-2', limit: 10 })).toEqual(['lse_4'])
    expect(await ids({ session: 'ses_2', limit: 10 })).toEqual(['lse_1'])
    expect(await ids({ tenant: 'acme', limit: 10 })).toEqual(['lse_4', 'lse_1'])
    expect(await ids({ tenant: '', limit: 10 })).toEqual(['lse_2', 'lse_3'])
    expect(await ids({ state: 'suspended', limit: 10 })).toEqual(['lse_2'])
    expect(await ids({ state: 'active', tenant: 'acme', limit: 10 })).toEqual(['lse_4', 'lse_1'])
    expect(await ids({ state: 'suspended', agent: 'agent:billing', limit: 10 })).toEqual(['lse_2'])
    expect(await ids({ state: 'completed', limit: 10 })).toEqual([])
    expect(await ids({ agent: "' OR 1=1 --", limit: 10 })).toEqual([])
  })

  it('leases whose time is over can be left out of a list', async () => {
    const store = await open()
    const at = nowSeconds()
    await store.leases.put(lease('lse_over', { maxExpiresAt: at }))
    await store.leases.put(lease('lse_live', { maxExpiresAt: at + 1 }))
    expect((await idsOf(store, { liveAt: at - 1, limit: 10 })).toSorted()).toEqual(['lse_live', 'lse_over'])
    expect(await idsOf(store, { liveAt: at, limit: 10 })).toEqual(['lse_live'])
    expect(await idsOf(store, { liveAt: at + 1, limit: 10 })).toEqual([])
  })

  it('any filter finds exactly the leases that it names', async () => {
    const store = await open()
    const some = <const T>(...values: T[]) => fc.constantFrom(...values)
    const members = {
      agent: some('agent:a', 'agent:b'),
      user: some('alice', 'bob'),
      session: some('ses_1', 'ses_2'),
      tenant: some('', 'acme'),
      state: some('active', 'suspended', 'revoked', 'completed'),
    }
    const all = fc
      .sample(fc.record(members), { numRuns: 40, seed: 4 })
      .map((over, i) => lease(`lse_${100 + i}`, over))
    await Promise.all(all.map((record) => store.leases.put(record)))
    const property = fc.asyncProperty(fc.record(members, { requiredKeys: [] }), async (filter) => {
      const wanted = all.filter((record) =>
        Object.entries(filter).every(([name, value]) => record[name as keyof typeof filter] === value),
      )
      expect((await idsOf(store, { ...filter, limit: 100 })).toSorted()).toEqual(wanted.map(({ id }) => id))
    })
    await fc.assert(property, { numRuns: 40 })
  })
}

function changes(open: Open): void {
  it('a renewal counts, and never takes time away', async () => {
    const store = await open()
    const record = lease('lse_1')
    await store.leases.put(record)
    const later = record.expiresAt + 100
    const until = (expiresAt: number) => ({ issuedAt: record.issuedAt, expiresAt })
    expect(await store.leases.renew('lse_1', until(later))).toEqual({
      ...record,
      renewals: 1,
      expiresAt: later,
    })
    expect(await store.leases.renew('lse_1', until(later - 50))).toEqual({
      ...record,
      renewals: 2,
      expiresAt: later,
    })
    expect(await (await open()).leases.get('lse_1')).toMatchObject({ renewals: 2, version: 0 })
    expect(await store.leases.renew('lse_2', until(later))).toBeUndefined()
  })

  it('a change of state is made once, counts, and says who and why', async () => {
    const store = await open()
    const record = lease('lse_1')
    await store.leases.put(record)
    const changed = {
      ...record,
      state: 'completed',
      version: 1,
      changed: { at: 7, by: done.by, reason: 'done' },
    }
    expect(await store.leases.transition('lse_1', done)).toEqual({ outcome: 'changed', record: changed })
    const again: LeaseTransition = { ...done, at: 8, by: 'somebody', reason: 'else' }
    expect(await store.leases.transition('lse_1', again)).toEqual({ outcome: 'unchanged', record: changed })
    const revoke: LeaseTransition = { ...done, from: ['active', 'suspended'], to: 'revoked' }
    expect(await store.leases.transition('lse_1', revoke)).toEqual({ outcome: 'conflict', record: changed })
    expect(await store.leases.transition('lse_2', done)).toEqual({ outcome: 'unknown' })
    expect(await (await open()).leases.get('lse_1')).toEqual(changed)
    expect(await idsOf(store, { state: 'completed', limit: 9 })).toEqual(['lse_1'])
    expect(await idsOf(store, { state: 'active', limit: 9 })).toEqual([])
  })

  it.each(['suspended', 'revoked', 'completed'] as const)(
    'a lease that is %s is not renewed',
    async (state) => {
      const store = await open()
      const record = lease('lse_1', { state })
      await store.leases.put(record)
      expect(
        await store.leases.renew('lse_1', { issuedAt: record.issuedAt, expiresAt: record.maxExpiresAt }),
      ).toBeUndefined()
      expect(await store.leases.get('lse_1')).toEqual(record)
    },
  )

  it('of twenty that change a state at once, on whichever process, one does', async () => {
    const stores = [await open(), await open()]
    await stores[0]!.leases.put(lease('lse_1'))
    const tries = Array.from({ length: 20 }, (_, i) =>
      stores[i % 2]!.leases.transition('lse_1', { ...done, at: i }),
    )
    const outcomes = (await Promise.all(tries)).map(({ outcome }) => outcome)
    expect(outcomes.filter((outcome) => outcome === 'changed')).toHaveLength(1)
    expect(outcomes.filter((outcome) => outcome === 'unchanged')).toHaveLength(19)
    expect(await stores[0]!.leases.get('lse_1')).toMatchObject({ version: 1 })
  })

  it('no renewal comes after a completion, however they race over two processes', async () => {
    const stores = [await open(), await open()]
    let run = 0
    const never = fc.asyncProperty(fc.nat({ max: 12 }), fc.nat({ max: 12 }), async (before, after) => {
      const id = `lse_${run++}`
      const record = lease(id)
      await stores[0]!.leases.put(record)
      const { issuedAt, expiresAt } = record
      const renew = (i: number) => stores[i % 2]!.leases.renew(id, { issuedAt, expiresAt: expiresAt + i })
      const early = Array.from({ length: before }, (_, i) => renew(i))
      const completing = stores[before % 2]!.leases.transition(id, done)
      const late = Array.from({ length: after }, (_, i) => renew(i + 1))
      const completed = await completing
      const afterwards = await Promise.all([renew(0), renew(1)])
      const renewed = (await Promise.all([...early, ...late])).filter((each) => each !== undefined)
      const end = await stores[1]!.leases.get(id)
      expect(afterwards).toEqual([undefined, undefined])
      // Every renewal that was granted is in the record that the completion made: none came after it.
      expect(completed).toEqual({ outcome: 'changed', record: end })
      expect(end).toMatchObject({ state: 'completed', renewals: renewed.length })
    })
    await fc.assert(never, { numRuns: 25 })
  })
}

function usage(open: Open): void {
  it('calls add up over processes, also those reported at once, and after a restart', async () => {
    const stores = [await open(), await open()]
    await stores[0]!.leases.put(lease('lse_1'))
    expect(await stores[0]!.leases.usage(lease('lse_1'))).toBeUndefined()
    const at = nowSeconds()
    const reports = Array.from({ length: 20 }, (_, i) =>
      stores[i % 2]!.leases.addUsage([
        use('lse_1', {
          verbs: { [i % 2 === 0 ? 'read' : 'list']: 1 },
          bytesIn: 2,
          lastUsedAt: at - i + 0.25,
        }),
      ]),
    )
    await Promise.all(reports)
    const wanted = { calls: 20, verbs: { read: 10, list: 10 }, refusals: 0, bytesIn: 40, bytesOut: 14_000 }
    expect(await stores[1]!.leases.usage(lease('lse_1'))).toEqual({ ...wanted, lastUsedAt: at + 0.25 })
    await stores[0]!.leases.put(lease('lse_1', { renewals: 1 }))
    expect(await (await open()).leases.usage(lease('lse_1'))).toEqual({ ...wanted, lastUsedAt: at + 0.25 })
  })

  it('of several leases in one report each gets its own, and one that is unknown is left out', async () => {
    const store = await open()
    await store.leases.put(lease('lse_1'))
    await store.leases.put(lease('lse_2'))
    await store.leases.addUsage([])
    await store.leases.addUsage([
      use('lse_1', { calls: 3, verbs: { read: 1, toString: 1 }, refusals: 1 }),
      use('lse_x', { verbs: { read: 1, list: 1, create: 1 } }),
      use('lse_2', { verbs: {}, refusals: 1, bytesOut: 0 }),
    ])
    expect(await store.leases.usage(lease('lse_1'))).toMatchObject({
      calls: 3,
      verbs: { read: 1, toString: 1 },
    })
    expect(await store.leases.usage(lease('lse_2'))).toMatchObject({
      calls: 1,
      verbs: {},
      refusals: 1,
      bytesOut: 0,
    })
    expect(await store.leases.usage(lease('lse_x'))).toBeUndefined()
  })

  it('calls under a lease of the same id, from another issuer, are not counted to ours', async () => {
    const store = await open()
    await store.leases.put(lease('lse_1'))
    await store.leases.addUsage([
      use('lse_1', { calls: 2 }),
      use('lse_1', { calls: 900, issuer: 'https://other.example' }),
      use('lse_1', { calls: 900, issuer: '' }),
    ])
    expect(await store.leases.usage(lease('lse_1'))).toMatchObject({ calls: 2 })
  })
}
