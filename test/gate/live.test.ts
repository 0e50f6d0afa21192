// What the console and programs read, over a whole broker with its gate: events as they happen, decisions and their
// explanation, agents, pages of leases, and the document that describes it all.
import { appendFileSync, readFileSync, renameSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { described } from '../../src/http/described/index.ts'
import type { Deferral } from '../../src/ports.ts'
import { readCustomer, startTestBroker, type TestBroker } from '../support/broker.ts'
import { Browser } from '../support/console.ts'
import { type EventReader, readEvents } from '../support/events.ts'
import { eventually } from '../support/gate.ts'
import { leaseRecord } from '../support/leases.ts'
import type { Json } from '../support/tokens.ts'

const people = ['auditor', 'ann', 'eve', 'acme'] as const
let broker: TestBroker
let tokens: Record<(typeof people)[number] | 'operator', string>
let lease: Json
let held: Json
const readers: EventReader[] = []

beforeAll(async () => {
  const named = (name: string, more: Json) => ({ name, token_file: `./${name}.token`, ...more })
  broker = await startTestBroker({
    agents: [{ clientId: 'trial', file: { profile: 'support-trial', version: '1.0.0' } }],
    config: {
      control: {
        operators: [
          named('auditor', { roles: ['auditor'] }),
          named('ann', { roles: ['approver'], groups: ['crm-owners'] }),
          named('eve', { roles: ['approver'], groups: ['hr'] }),
          named('acme', { roles: ['operator', 'auditor'], tenant: 'acme' }),
        ],
      },
    },
  })
  const secretOf = (name: string) => readFileSync(join(broker.dir, `${name}.token`), 'utf8').trim()
  const read = people.map((name) => [name, secretOf(name)] as const)
  tokens = { ...(Object.fromEntries(read) as typeof tokens), operator: broker.operatorToken() }
  lease = await riskyLease()
  held = await call('DELETE', '/crm/customers/9821')
}, 90_000)
afterAll(() => broker.close())
afterEach(() => {
  for (const reader of readers.splice(0)) reader.close()
})

/** A lease that may delete, at high risk. */
async function riskyLease(): Promise<Json> {
  const constraints = { max_risk: 'high' }
  const detail = { ...readCustomer, actions: ['read', 'delete'], sensitivity: 'restricted', constraints }
  const asked = { stage: 'execute', authorization_details: JSON.stringify([detail]) }
  return (await broker.exchange(asked)).body
}

/** A token request that waits for Ann's group. */
function deferral(id: string): Deferral {
  const now = Math.floor(Date.now() / 1000)
  return {
    ...{ id, clientId: 'trial', key: '', approvers: ['group:crm-owners'], request: '{}' },
    ...{ createdAt: now, expiresAt: now + 600, interval: 5, state: 'pending' },
  }
}

/** One call of the agent; its problem document, once the record of it is there. */
async function call(method: string, path: string): Promise<Json> {
  const before = broker.records().length
  const headers = { authorization: `Bearer ${lease.access_token}` }
  const response = await fetch(`${broker.gateUrl}${path}`, { method, headers })
  const body = response.status >= 400 ? ((await response.json()) as Json) : {}
  await broker.recordsAfter(before)
  return { ...body, decision_id: response.headers.get('decision-id') }
}

async function get(path: string, who: keyof typeof tokens = 'auditor') {
  const headers = { authorization: `Bearer ${tokens[who]}` }
  const response = await fetch(`${broker.brokerUrl}${path}`, { headers })
  const body = (await response.json()) as Json
  return { status: response.status, headers: response.headers, body }
}

async function listen(query = '', who: keyof typeof tokens = 'auditor'): Promise<EventReader> {
  const reader = await readEvents(`${broker.brokerUrl}/events${query}`, tokens[who])
  readers.push(reader)
  return reader
}

describe('GET /events', () => {
  test('says what waits for whoever may see it, at once and when it changes', async () => {
    const { id } = (held.access_request as { task: { id: string } }).task
    const [auditor, ann, eve] = [await listen(), await listen('', 'ann'), await listen('', 'eve')]
    expect(auditor.status).toBe(200)
    expect(auditor.headers.get('content-type')).toBe('text/event-stream')
    expect(auditor.headers.get('cache-control')).toBe('no-store')
    expect(await auditor.next('actions')).toEqual({ pending: 1, ids: [id] })
    expect(await ann.next('actions')).toEqual({ pending: 1, ids: [id] })
    expect(await eve.next('actions')).toEqual({ pending: 0, ids: [] })
    const { deferrals } = await broker.store()
    await deferrals.put(deferral('asked-for'))
    const { ids } = await ann.next('actions', ({ pending }) => pending === 2)
    expect(ids).toEqual([id, 'asked-for'])
    await deferrals.settle('asked-for', 'denied', { by: 'owner@example.com', at: 1, reason: 'no' })
    await eventually(
      () => ann.events.filter(({ event }) => event === 'actions').length === 3,
      'the end of it',
    )
    expect(eve.events.filter(({ event }) => event === 'actions')).toHaveLength(1)
  })

  test('tells decisions that fit, each as a record without what policy was asked', async () => {
    const [all, denied] = [
      await listen('?decisions=1'),
      await listen('?decisions=1&effect=deny&agent=nobody'),
    ]
    await Promise.all([all.next('actions'), denied.next('actions')])
    const { decision_id } = await call('GET', '/crm/customers/9821')
    const row = await all.next('decision', (data) => data.decision_id === decision_id)
    const record = broker.records().find((each) => each.decision_id === decision_id)
    const { policy, ...rest } = record!
    expect(policy).not.toBeNull()
    expect(row).toEqual(rest)
    expect(denied.events.filter(({ event }) => event === 'decision')).toEqual([])
  })

  test('counts what is more than a hundred a second', async () => {
    const reader = await listen('?decisions=1')
    await reader.next('actions')
    const line = broker
      .auditText()
      .split('\n')
      .findLast((each) => each.includes('"outcome":{'))!
    appendFileSync(broker.config.audit.file, `${line}\n`.repeat(1_000))
    const { decisions } = await reader.next('left_out')
    await eventually(() => {
      const left = reader.events
        .filter(({ event }) => event === 'left_out')
        .map(({ data }) => Number(data.decisions))
      const told = reader.events.filter(({ event }) => event === 'decision').length
      return told + left.reduce((sum, each) => sum + each, 0) === 1_000
    }, 'every row, told or counted')
    expect(decisions).toBeGreaterThan(0)
  })

  test('tells operators and auditors how the gates are', async () => {
    const [auditor, eve] = [await listen(), await listen('', 'eve')]
    const status = await auditor.next('status')
    expect(described['GET /status']!.answer!.safeParse(status).error).toBeUndefined()
    await eve.next('actions')
    expect(eve.events.map(({ event }) => event)).not.toContain('status')
  })

  test('a session that ends takes its streams with it', async () => {
    const headers = { authorization: `Bearer ${tokens.operator}`, 'content-type': 'application/json' }
    const body = JSON.stringify({ user: 'ann@example.com', roles: ['auditor'] })
    const made = await fetch(`${broker.brokerUrl}/console/links`, { method: 'POST', headers, body })
    const { url } = (await made.json()) as { url: string }
    const browser = new Browser(new URL(url).origin)
    await browser.post('/console/link', { token: new URL(url).searchParams.get('token')! })
    await browser.learn()
    const response = await browser.fetch('/events')
    expect(response.status).toBe(200)
    const reader = response.body!.getReader()
    await reader.read()
    expect((await browser.order('/sign-out', {})).status).toBeLessThan(400)
    let over = false
    while (!over) over = (await reader.read()).done
    expect(over).toBe(true)
  })

  test('goes on after the audit file has been rotated', async () => {
    const reader = await listen('?decisions=1')
    await reader.next('actions')
    const { file } = broker.config.audit
    renameSync(file, `${file}.1`)
    await broker.running.reload()
    const { decision_id } = await call('GET', '/crm/customers/9821')
    await reader.next('decision', (data) => data.decision_id === decision_id)
    appendFileSync(`${file}.2`, readFileSync(`${file}.1`))
    appendFileSync(`${file}.2`, readFileSync(file))
    renameSync(`${file}.2`, file)
    await broker.running.reload()
  })

  test.each([
    ['?decisions=2', 'auditor', 400, 'malformed_request'],
    ['?effect=deny', 'auditor', 400, 'malformed_request'],
    ['?decisions=1&decisions=1', 'auditor', 400, 'malformed_request'],
    ['?what=1', 'auditor', 400, 'malformed_request'],
    ['?decisions=1&user=a%0Aevent:%20forged', 'auditor', 400, 'malformed_request'],
    ['?decisions=1', 'ann', 403, 'operator_not_allowed'],
    ['', 'acme', 403, 'operator_not_allowed'],
  ] as const)('%s of %s is %i', async (query, who, status, code) => {
    const answer = await get(`/events${query}`, who)
    expect([answer.status, answer.body.code]).toEqual([status, code])
  })

  test('is for two hundred at once', async () => {
    const all = await Promise.all(Array.from({ length: 200 }, () => listen('', 'eve')))
    expect(all.every(({ status }) => status === 200)).toBe(true)
    const answer = await get('/events')
    expect([answer.status, answer.body.code]).toEqual([503, 'overloaded'])
    expect(answer.headers.get('retry-after')).toBe('10')
    all[0]!.close()
    await eventually(async () => {
      const reader = await listen('', 'eve')
      return reader.status === 200
    }, 'a free place')
  })
})

describe('GET /decisions', () => {
  test('gives pages, newest first, each decision once', async () => {
    for (let round = 0; round < 5; round++) await call('GET', '/crm/customers/9821')
    const records = broker.records()
    const seen: string[] = []
    for (let query = '?limit=2'; ; ) {
      const { status, body } = await get(`/decisions${query}`)
      expect(status).toBe(200)
      const { decisions, next } = body as unknown as { decisions: { decision_id: string }[]; next?: string }
      expect(decisions.every((row) => !('policy' in row))).toBe(true)
      seen.push(...decisions.map((row) => row.decision_id))
      if (next === undefined || seen.length > 40) break
      query = `?limit=2&before=${next}`
    }
    const expected = records.map(({ decision_id }) => decision_id).toReversed()
    expect(seen.slice(0, 40)).toEqual(expected.slice(0, 40))
  })

  test.each([
    ['code=approval_required', (row: Json) => (row.decision as Json).code === 'approval_required'],
    ['effect=allow&backend=crm', (row: Json) => (row.decision as Json).effect === 'allow'],
    ['user=alice@example.com&agent=agent:support-triage', () => true],
  ])('filters by %s', async (query, fits) => {
    const { body } = await get(`/decisions?${query}`)
    const { decisions } = body as unknown as { decisions: Json[] }
    expect(decisions.length).toBeGreaterThan(0)
    expect(decisions.every(fits)).toBe(true)
  })

  test('an approver sees those of actions that policy names them for, and no others', async () => {
    const own = await get('/decisions', 'ann')
    expect((own.body.decisions as Json[]).map(({ decision_id }) => decision_id)).toEqual([held.decision_id])
    expect((await get('/decisions', 'eve')).body.decisions).toEqual([])
    expect((await get(`/decisions/${held.decision_id}`, 'ann')).status).toBe(200)
    for (const path of [`/decisions/${held.decision_id}`, `/decisions/${held.decision_id}/explanation`]) {
      const answer = await get(path, 'eve')
      expect([answer.status, answer.body.code]).toEqual([404, 'decision_unknown'])
    }
  })

  test.each([
    '?limit=0',
    '?limit=501',
    '?limit=1e2',
    '?before=x',
    '?before=1',
    '?before=1-1',
    '?before=99999999999999999999-0',
    '?before=-1--1',
    '?agent=',
    '?agent=a&agent=b',
    '?__proto__=1',
    '?lease=%00',
  ])('%s is 400', async (query) => {
    const answer = await get(`/decisions${query}`)
    expect([answer.status, answer.body.code]).toEqual([400, 'malformed_request'])
  })

  test.each([
    ['/decisions/dec_unknown', 404, 'decision_unknown'],
    ['/decisions/..', 404, 'operation_unmapped'],
    ['/decisions/%2e%2e%2fetc%2fpasswd', 404, 'operation_unmapped'],
    ['/decisions/dec_"', 404, 'operation_unmapped'],
    ['/decisions/__proto__', 404, 'decision_unknown'],
  ])('%s is %i', async (path, status, code) => {
    const answer = await get(path)
    expect([answer.status, answer.body.code]).toEqual([status, code])
  })

  test.each([
    ['a filter', `/decisions?user=${'x'.repeat(8_000)}`, 400],
    ['a place', `/decisions?before=${'9'.repeat(8_000)}-1`, 400],
    ['an id', `/decisions/${'x'.repeat(8_000)}`, 404],
    ['a filter of events', `/events?decisions=1&user=${'x'.repeat(8_000)}`, 400],
    ['a place of leases', `/leases?before=1~${'x'.repeat(8_000)}`, 400],
  ])('%s of 8 KiB is refused', async (_, path, status) => {
    expect((await get(path)).status).toBe(status)
  })

  test('whoever is limited to a tenant sees none', async () => {
    const answer = await get('/decisions', 'acme')
    expect([answer.status, answer.body.code]).toEqual([403, 'operator_not_allowed'])
  })

  test('gives one decision whole, and the events that name its action', async () => {
    const { id } = (held.access_request as { task: { id: string } }).task
    const approval = { time: 'x', event: 'approval', action: id, what: 'approve', by: { user: 'ann' } }
    appendFileSync(broker.config.audit.file, `${JSON.stringify(approval)}\n`)
    const { body } = await get(`/decisions/${held.decision_id}`)
    const { intents, events, ...record } = body
    expect(record).toEqual(broker.records().find(({ decision_id }) => decision_id === held.decision_id))
    expect(intents).toEqual([])
    expect(events).toEqual([approval])
  })

  test('explains a decision as policy explain does, the second time from what is kept', async () => {
    const first = await get(`/decisions/${held.decision_id}/explanation`)
    expect(first.status).toBe(200)
    const { explanations } = first.body as unknown as { explanations: Json[] }
    expect(explanations[0]).toMatchObject({ effect: 'hold', digest: broker.running.policyDigest() })
    expect(explanations[0]!.rules).not.toEqual([])
    expect((await get(`/decisions/${held.decision_id}/explanation`)).body).toEqual(first.body)
  }, 60_000)

  test('says so where there is nothing to explain', async () => {
    const { decision_id } = await call('GET', '/crm/nothing')
    const { body } = await get(`/decisions/${decision_id}/explanation`)
    expect(body).toMatchObject({ explanations: [] })
  })
})

describe('GET /agents', () => {
  test('tells what each may do, could reach and holds', async () => {
    const { body } = await get('/agents')
    const { agents, truncated } = body as unknown as { agents: Json[]; truncated: boolean }
    expect(truncated).toBe(false)
    const support = agents.find(({ client_id }) => client_id === 'support-triage')!
    expect(support).toMatchObject({
      agent: 'agent:support-triage',
      version: '3.2.1',
      env: 'prod',
      profile: 'support',
      has_file: true,
      profile_rights: { stages: ['observe', 'draft', 'execute'] },
      live_leases: 1,
    })
    expect(support.blast_radius).toBeGreaterThan(0)
    const trial = agents.find(({ client_id }) => client_id === 'trial')!
    const reach = trial.reach as { operation: string; as_draft: boolean }[]
    expect(trial.live_leases).toBe(0)
    expect(reach.map(({ operation }) => operation)).not.toContain('DELETE /customers/{id}')
    expect(reach.find(({ operation }) => operation === 'PATCH /customers/{id}')?.as_draft).toBe(true)
    expect(reach.find(({ operation }) => operation === 'GET /customers/{id}')?.as_draft).toBe(false)
  })

  test('an operator of a tenant sees the agents of that tenant', async () => {
    expect((await get('/agents', 'acme')).body).toEqual({ agents: [], truncated: false })
    expect((await get('/agents', 'ann')).status).toBe(403)
  })
})

describe('GET /leases in pages', () => {
  test('every lease once, newest first, also those of one moment', async () => {
    const { leases } = await broker.store()
    const at = Math.floor(Date.now() / 1000) - 60
    const ids = Array.from({ length: 23 }, (_, number) => `lse_page${String(number).padStart(2, '0')}`)
    for (const [number, id] of ids.entries()) {
      const issuedAt = at - Math.floor(number / 10)
      await leases.put(leaseRecord({ id, user: 'pages@example.com', issuedAt }))
    }
    const seen: string[] = []
    let query = '?user=pages@example.com&summary=1&limit=5'
    for (let page = 0; page < 10; page++) {
      const { body } = await get(`/leases${query}`)
      const { leases: rows, next } = body as unknown as {
        leases: { id: string; points: number }[]
        next?: string
      }
      seen.push(...rows.map(({ id }) => id))
      if (next === undefined) break
      query = `?user=pages@example.com&summary=1&limit=5&before=${encodeURIComponent(next)}`
    }
    const moment = (from: number, to: number) => ids.slice(from, to).toReversed()
    expect(seen).toEqual([...moment(0, 10), ...moment(10, 20), ...moment(20, 23)])
    const found = await get('/leases?text=PAGE07&state=active')
    expect((found.body.leases as Json[]).map(({ id }) => id)).toEqual(['lse_page07'])
  })

  test.each(['?before=x', '?before=1', '?before=1~', '?before=1~%00', '?summary=0', '?text='])(
    '%s is 400',
    async (query) => {
      const answer = await get(`/leases${query}`)
      expect([answer.status, answer.body.code]).toEqual([400, 'malformed_request'])
    },
  )
})

describe('GET /openapi.json', () => {
  test('describes every endpoint of a broker with its gate, and is open', async () => {
    const response = await fetch(`${broker.brokerUrl}/openapi.json`)
    expect(response.status).toBe(200)
    const document = (await response.json()) as {
      openapi: string
      paths: Record<string, Record<string, Json>>
    }
    expect(document.openapi).toBe('3.1.0')
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        name: `${method.toUpperCase()} ${path}`,
        operation,
      })),
    )
    expect(operations.length).toBeGreaterThan(15)
    expect(
      operations.filter(({ operation }) => operation.summary === undefined).map(({ name }) => name),
    ).toEqual([])
  })

  test.each([
    ['/leases', 'GET /leases'],
    ['/leases?summary=1', 'GET /leases'],
    ['/leases/{lease}', 'GET /leases/{id}'],
    ['/decisions', 'GET /decisions'],
    ['/decisions/{held}', 'GET /decisions/{id}'],
    ['/decisions/{held}/explanation', 'GET /decisions/{id}/explanation'],
    ['/agents', 'GET /agents'],
    ['/jwks', 'GET /jwks'],
    ['/status', 'GET /status'],
  ])(
    'a real answer of %s is what it says',
    async (path, name) => {
      const real = path.replace('{lease}', String(lease.lease_id)).replace('{held}', String(held.decision_id))
      const { status, body } = await get(real)
      expect(status).toBe(200)
      expect(described[name]!.answer!.safeParse(body).error?.issues ?? []).toEqual([])
    },
    60_000,
  )

  test('real answers to orders and of the token endpoint are what they say', async () => {
    const token = await broker.exchange()
    expect(described['POST /token']!.answer!.safeParse(token.body).error).toBeUndefined()
    const order = async (path: string, body: Json) => {
      const headers = { authorization: `Bearer ${tokens.operator}`, 'content-type': 'application/json' }
      const init = { method: 'POST', headers, body: JSON.stringify(body) }
      return (await fetch(`${broker.brokerUrl}${path}`, init)).json()
    }
    const id = String(token.body.lease_id)
    for (const verb of ['suspend', 'resume', 'revoke']) {
      const answer = await order(`/leases/${id}/${verb}`, { reason: 'a test' })
      expect(described[`POST /leases/{id}/${verb}`]!.answer!.safeParse(answer).error).toBeUndefined()
    }
    const revoked = await order('/revocations', { lease: id, reason: 'a test' })
    expect(described['POST /revocations']!.answer!.safeParse(revoked).error).toBeUndefined()
  })
})

// The last one: it leaves nothing to read.
test('an audit file that has been cut is read as it is', async () => {
  const { body } = await get('/decisions?limit=1')
  truncateSync(broker.config.audit.file)
  expect((await get('/decisions')).body).toEqual({ decisions: [] })
  const stale = await get(`/decisions?before=${body.next}`)
  expect([stale.status, stale.body.code]).toEqual([400, 'malformed_request'])
})
