// Bad-input classes H1 and H7 to H10, over real sockets on a whole broker: requests that ask for what nobody can
// have, or in a way that cannot be read. What each "no" has in common is in support/broker_matrix.ts.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  dpopProof,
  exchangeGrant,
  readCustomer,
  startTestBroker,
  type TestBroker,
} from '../support/broker.ts'
import {
  type BrokerRequest,
  brokerRecords,
  changeData,
  expectGiven,
  expectRefused,
  told,
} from '../support/broker_matrix.ts'
import { crmOperations } from '../support/gate.ts'
import { RawConnection } from '../support/raw.ts'
import { type Json, type TestKey, testKey } from '../support/tokens.ts'

let broker: TestBroker
const key = testKey('holder')
beforeAll(async () => {
  const backend = (name: string, require_binding: string) => ({
    ...{ url: 'http://127.0.0.1:9', path_prefix: `/${name}`, require_binding, operations: crmOperations },
  })
  broker = await startTestBroker({
    agents: [{ clientId: 'bound', file: { profile: 'bound' } }],
    backends: {
      always: backend('always', 'always'),
      writes: backend('writes', 'writes'),
      high: backend('high', 'high'),
    },
  })
  const defaults = ['crm', 'always', 'writes'].map((name) => entry(name, 'read,list'))
  await changeData(broker, 'profiles.json', ({ support, ...others }) => ({
    ...others,
    support: { ...(support as Json), defaults },
    bound: { ...(support as Json), needs_binding: true },
  }))
  await changeData(broker, 'tasks.json', () => ({ closed: ['jira:SUP-1', 'jira:Ü-2'] }))
})
afterAll(() => broker.close())

function entry(backend: string, actions: string, more: Json = {}): Json {
  const identifier = `${backend}:customer/*`
  return { type: 'lease', actions: actions.split(','), identifier, sensitivity: 'restricted', ...more }
}

type Changes = Readonly<Record<string, string | undefined>>
const details = (...entries: unknown[]) => ({ authorization_details: JSON.stringify(entries) })
const asks = (changes: Changes, clientId?: string): BrokerRequest => ({
  body: broker.exchangeForm(changes, clientId),
})
const proof = (claims: Json = {}, by: TestKey = key) => ({
  dpop: dpopProof(by, { method: 'POST', url: `${broker.brokerUrl}/token`, ...claims }),
})
const freshNonce = async () => (await told(broker, { body: '' })).answer.headers.get('dpop-nonce') ?? ''
const dangerous = { constraints: { max_risk: 'high' } }

describe('H1a without a proof, where one is needed', () => {
  test('by the profile of the agent', async () => {
    await expectRefused(broker, asks({}, 'bound'), { error: 'invalid_dpop_proof' })
  })

  test.each<[string, Changes]>([
    ['a backend that always wants one', details(entry('always', 'read'))],
    ['one of several backends', details(readCustomer, entry('always', 'read'))],
    ['a write, where writes want one', { ...details(entry('writes', 'update')), stage: 'execute' }],
    ['a write beside a read', { ...details(entry('writes', 'read,update')), stage: 'draft' }],
    ['high risk, asked for by name', { ...details(entry('high', 'delete', dangerous)), stage: 'execute' }],
    [
      'high risk on one resource',
      {
        ...details(entry('writes', 'delete', { ...dangerous, identifier: 'high:customer/9821' })),
        stage: 'execute',
      },
    ],
  ])('by %s', async (_, changes) => {
    const { record } = await expectRefused(broker, asks(changes), { error: 'invalid_dpop_proof' })
    expect(record.decision.reasons).toEqual(['binding_required'])
  })

  test('by all that policy would give where the client asks for nothing by name', async () => {
    const resource = `${broker.gateUrl}/always`
    const nothing = { authorization_details: undefined, resource }
    await expectRefused(broker, asks(nothing), { error: 'invalid_dpop_proof' })
  })

  test.each<[string, Changes]>([
    ['a read, where writes want one', details(entry('writes', 'read,list'))],
    [
      'a write below high risk, where high risk wants one',
      {
        ...details(entry('high', 'update,delete')),
        stage: 'execute',
      },
    ],
    ['what policy gives, of which a part is of use', { authorization_details: undefined }],
    [
      'high risk on what has none',
      {
        ...details(entry('high', 'delete', { ...dangerous, identifier: 'high:note/7' })),
        stage: 'execute',
      },
    ],
  ])('a bearer lease is given for %s', async (_, changes) => {
    expect(await expectGiven(broker, asks(changes))).toMatchObject({ token_type: 'Bearer' })
  })

  test.each<[string, string, () => Changes]>([
    ['the agent', 'bound', () => ({})],
    ['the backend', 'support-triage', () => details(entry('always', 'read'))],
  ])('with one %s gets a bound lease', async (_, clientId, changes) => {
    const headers = proof({ nonce: await freshNonce() })
    const body = await expectGiven(broker, { ...asks(changes(), clientId), headers })
    expect(body).toMatchObject({ token_type: 'DPoP' })
  })
})

describe('H1b a proof without a current nonce', () => {
  test.each<[string, Json]>([
    ['none', {}],
    ['an empty one', { nonce: '' }],
    ['one of another server', { nonce: 'eyJub3QiOiJvdXJzIn0' }],
    ['none, with a good token of the gate beside it', { ath: 'x'.repeat(43) }],
  ])('%s', async (_, claims) => {
    const request = { ...asks({}, 'bound'), headers: proof(claims) }
    const { answer } = await expectRefused(broker, request, { error: 'use_dpop_nonce' })
    const nonce = answer.headers.get('dpop-nonce') ?? ''
    await expectGiven(broker, { ...asks({}, 'bound'), headers: proof({ nonce }) })
  })

  test.each<[string, () => Json]>([
    ['for another path', () => ({ url: `${broker.brokerUrl}/introspect` })],
    ['for the gate', () => ({ url: `${broker.gateUrl}/token` })],
    ['for another method', () => ({ method: 'GET' })],
    ['of two minutes ago', () => ({ iat: Math.floor(Date.now() / 1000) - 120 })],
    ['without jti', () => ({ jti: undefined })],
    ['with a jti of 1 KiB', () => ({ jti: 'x'.repeat(1024) })],
  ])('a proof %s is none', async (_, claims) => {
    const headers = proof({ nonce: await freshNonce(), ...claims() })
    await expectRefused(broker, { ...asks({}, 'bound'), headers }, { error: 'invalid_dpop_proof' })
  })

  test('a proof is good once', async () => {
    const headers = proof({ nonce: await freshNonce() })
    await expectGiven(broker, { headers })
    await expectRefused(broker, { headers }, { error: 'invalid_dpop_proof' })
  })
})

describe('H7 details that are none', () => {
  const one = (changes: Json) => details({ ...readCustomer, ...changes })
  test.each<[string, Changes]>([
    ['an unknown type', one({ type: 'payment_initiation' })],
    ['no type', one({ type: undefined })],
    ['an unknown field', one({ privileges: ['admin'] })],
    ['an unknown constraint', one({ constraints: { max_tokens: 500 } })],
    ['an amount that is a number', one({ constraints: { max_amount: 500 } })],
    ['an amount below nothing', one({ constraints: { max_amount: '-500.00' } })],
    ['a rate in words', one({ constraints: { max_rate: '20 per minute' } })],
    ['a constraint that is no number', one({ constraints: { max_calls: '20' } })],
    ['a constraint below nothing', one({ constraints: { max_calls: -1 } })],
    ['every action as text', one({ actions: '*' })],
    ['every action', one({ actions: ['*'] })],
    ['no action', one({ actions: [] })],
    ['an empty action', one({ actions: [''] })],
    ['actions left out', one({ actions: undefined })],
    ['an action of 1,000 letters', one({ actions: ['a'.repeat(1000)] })],
    ['every resource', one({ identifier: 'crm:*' })],
    ['everything', one({ identifier: '*' })],
    ['an empty identifier', one({ identifier: '' })],
    ['a wildcard in the middle', one({ identifier: 'crm:*/9821' })],
    ['a step upwards', one({ identifier: 'crm:customer/../admin' })],
    ['an identifier of 10,000 letters', one({ identifier: `crm:${'a'.repeat(10_000)}` })],
    ['a backend that there is not', one({ identifier: 'payroll:customer/1' })],
    ['a sensitivity off the scale', one({ sensitivity: 'secret' })],
    ['an empty sensitivity', one({ sensitivity: '' })],
    ['a member of Object', one({ sensitivity: '__proto__' })],
    ['a location of somebody else', one({ locations: ['https://evil.example'] })],
    ['no entry', { authorization_details: '[]' }],
    ['null', { authorization_details: 'null' }],
    ['one entry outside of a list', { authorization_details: JSON.stringify(readCustomer) }],
    ['a list in a list', details([readCustomer])],
    ['a key twice', { authorization_details: '[{"type":"lease","type":"lease"}]' }],
    ['half of it', { authorization_details: '[{"type":"lease"' }],
    ['65 entries', details(...Array(65).fill(readCustomer))],
    ['one good entry and a bad one', details(readCustomer, { type: 'lease' })],
  ])('%s', async (_, changes) => {
    await expectRefused(broker, asks(changes), { error: 'invalid_authorization_details' })
  })
})

describe('H8 a resource that is none of ours', () => {
  test.each<[string, () => string]>([
    ['relative', () => '/crm'],
    ['with a fragment', () => `${broker.gateUrl}/crm#x`],
    ['with an empty fragment', () => `${broker.gateUrl}#`],
    ['with a slash more', () => `${broker.gateUrl}/`],
    ['with a query', () => `${broker.gateUrl}/crm?x=1`],
    ['of another scheme', () => broker.gateUrl.replace('http', 'https')],
    ['of another host', () => 'http://localhost:8080'],
    ['of the broker', () => broker.brokerUrl],
    ['a backend that only begins alike', () => `${broker.gateUrl}/crm2`],
    ['in other letters', () => `${broker.gateUrl}/CRM`],
    ['a name', () => 'crm'],
    ['two in one', () => `${broker.gateUrl} ${broker.gateUrl}/crm`],
  ])('%s', async (_, resource) => {
    await expectRefused(broker, asks({ resource: resource() }), { error: 'invalid_target' })
    await expectRefused(broker, asks({ resource: undefined, audience: resource() }), {
      error: 'invalid_target',
    })
  })

  test.each<[string, string]>([
    ['resource', 'resource'],
    ['audience', 'audience'],
  ])('two of %s, be they the same', async (_, name) => {
    const body = broker.exchangeForm({ resource: undefined })
    body.append(name, broker.gateUrl)
    body.append(name, broker.gateUrl)
    await expectRefused(broker, { body }, { error: 'invalid_target' })
  })

  test('a resource and another audience', async () => {
    const changes = { resource: broker.gateUrl, audience: `${broker.gateUrl}/crm` }
    await expectRefused(broker, asks(changes), { error: 'invalid_target' })
  })
})

const endpoints = ['/token', '/introspect', '/revoke', '/backchannel_logout']

describe.each(endpoints)('H9 %s with', (path) => {
  test.each<[string, () => BrokerRequest]>([
    ['a parameter twice', () => ({ body: 'grant_type=a&grant_type=b' })],
    ['a parameter twice, the same', () => ({ body: 'token=a&token=a' })],
    ['a parameter twice, once empty', () => ({ body: 'token=&token=a' })],
    ['a parameter twice, once encoded', () => ({ body: 'token=a&%74oken=a' })],
    ['an escape that is none', () => ({ body: 'token=%zz' })],
    ['bytes that are not UTF-8', () => ({ body: 'token=%ff' })],
    [
      'JSON',
      () => ({ body: `{"grant_type":"${exchangeGrant}"}`, headers: { 'content-type': 'application/json' } }),
    ],
    ['a form under another name', () => ({ headers: { 'content-type': 'text/plain' } })],
    ['a form of many parts', () => ({ headers: { 'content-type': 'multipart/form-data; boundary=x' } })],
    [
      'another charset',
      () => ({
        headers: { 'content-type': 'application/x-www-form-urlencoded; charset=utf-16' },
      }),
    ],
    ['no type', () => ({ headers: { 'content-type': '' } })],
  ])('%s', async (_, request) => {
    await expectRefused(broker, { path, ...request() }, { error: 'invalid_request' })
  })

  test.each(['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])('%s', async (method) => {
    const refused = { status: 405, error: 'invalid_request', code: 'method_not_allowed' }
    const { answer } = await expectRefused(broker, { path, method }, refused)
    expect(answer.headers.get('allow')).toBe('POST')
  })

  test('more bytes than are read', async () => {
    const refused = { status: 413, error: 'invalid_request', code: 'body_too_large' }
    await expectRefused(broker, { path, body: `token=${'a'.repeat(70_000)}` }, refused)
  })

  test('half a body', async () => {
    const before = brokerRecords(broker).length
    const { hostname, port } = new URL(broker.brokerUrl)
    const head = `POST ${path} HTTP/1.1\r\nHost: ${hostname}\r\nContent-Length: 100\r\n`
    const type = 'Content-Type: application/x-www-form-urlencoded\r\n\r\n'
    const connection = await RawConnection.open(Number(port))
    connection.write(`${head}${type}grant_type=x`)
    await sleep(100)
    connection[Symbol.dispose]()
    await expect.poll(() => brokerRecords(broker).length, { timeout: 15_000 }).toBe(before + 1)
    expect(brokerRecords(broker).at(-1)?.decision).toMatchObject({ effect: 'deny', code: 'invalid_request' })
    expect(broker.logText()).not.toContain('a bug')
  })
})

describe('H10 a task', () => {
  test.each<[string, Changes, string]>([
    ['that is not named', { task: undefined, purpose: undefined }, 'task_required'],
    ['that is named by nothing', { task: '', purpose: undefined }, 'task_required'],
    ['that is closed', { task: 'jira:SUP-1' }, 'task_closed'],
    ['that is closed, not in ASCII', { task: 'jira:Ü-2' }, 'task_closed'],
    [
      'that is closed, details left to policy',
      { task: 'jira:SUP-1', authorization_details: undefined },
      'task_closed',
    ],
  ])('%s', async (_, changes, reason) => {
    const { record } = await expectRefused(broker, asks(changes), { error: 'invalid_request' })
    expect(record.decision.reasons).toEqual([reason])
  })

  test.each<[string, Changes]>([
    ['a purpose alone', { task: undefined }],
    ['a system alone', { task: 'jira:' }],
    ['a line break', { task: 'jira:SUP\n1' }],
    ['a bidi control', { purpose: 'answer \u202ebilling' }],
    ['a space at an end', { task: 'jira:SUP-1 ' }],
  ])('with %s is none', async (_, changes) => {
    await expectRefused(broker, asks(changes), { error: 'invalid_request' })
  })

  test('that is closed is not renewed either', async () => {
    const body = await expectGiven(broker, asks({ task: 'jira:SUP-77' }))
    const renewal = {
      ...{ subject_token: String(body.access_token), task: undefined, purpose: undefined },
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    }
    await expectGiven(broker, asks(renewal))
    await changeData(broker, 'tasks.json', () => ({ closed: ['jira:SUP-1', 'jira:Ü-2', 'jira:SUP-77'] }))
    const { record } = await expectRefused(broker, asks(renewal), { error: 'invalid_request' })
    expect(record.decision.reasons).toEqual(['task_closed'])
  })
})
