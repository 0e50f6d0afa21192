import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { accessTokenType, readCustomer, startTestBroker, type TestBroker } from '../support/broker.ts'
import { type BrokerRequest, changeData, expectGiven, expectRefused } from '../support/broker_matrix.ts'
import { crmOperations } from '../support/gate.ts'
import type { Json } from '../support/tokens.ts'

let broker: TestBroker
const jwtType = 'urn:ietf:params:oauth:token-type:jwt'
beforeAll(async () => {
  const delegates_to = ['agent:support-triage']
  const hr = { url: 'http://127.0.0.1:9', path_prefix: '/hr', operations: crmOperations }
  broker = await startTestBroker({
    backends: { hr },
    agents: [
      { clientId: 'planner', file: { delegates_to } },
      { clientId: 'reader', file: { profile: 'reader' } },
    ],
  })
  const crm = { verbs: ['read'], ceiling: 'confidential' }
  await changeData(broker, 'profiles.json', ({ support, ...others }) => ({
    ...others,
    support,
    reader: { ...(support as Json), backends: { crm } },
  }))
})
afterAll(() => broker.close())

type Changes = Readonly<Record<string, string | undefined>>
const asks = (changes: Changes, clientId?: string): BrokerRequest => ({
  body: broker.exchangeForm(changes, clientId),
})
const details = (changes: Json) => ({
  authorization_details: JSON.stringify([{ ...readCustomer, ...changes }]),
})

describe('H5 wider than the lease before', () => {
  const limits = { max_calls: 20, max_risk: 'low' }
  const narrow = {
    actions: ['read'],
    identifier: 'crm:customer/9821',
    sensitivity: 'internal',
    constraints: limits,
  }
  const parent = async (clientId: string) => {
    const body = await expectGiven(
      broker,
      asks({ ...details(narrow), resource: `${broker.gateUrl}/crm` }, clientId),
    )
    return { subject_token: String(body.access_token), subject_token_type: accessTokenType }
  }
  const refused = { error: 'invalid_authorization_details' }

  const wider: readonly [string, Changes][] = [
    ['a further action', details({ ...narrow, actions: ['read', 'list'] })],
    ['another action', details({ ...narrow, actions: ['list'] })],
    ['another resource', details({ ...narrow, identifier: 'crm:customer/98210' })],
    ['everything below', details({ ...narrow, identifier: 'crm:customer/9821/*' })],
    ['everything', details({ ...narrow, identifier: 'crm:customer/*' })],
    ['a higher ceiling', details({ ...narrow, sensitivity: 'confidential' })],
    ['more calls', details({ ...narrow, constraints: { ...limits, max_calls: 21 } })],
    ['calls without end', details({ ...narrow, constraints: { max_risk: 'low' } })],
    ['a higher risk', details({ ...narrow, constraints: { ...limits, max_risk: 'medium' } })],
    ['no ceiling on risk', details({ ...narrow, constraints: { max_calls: 20 } })],
    ['no constraint', details({ ...narrow, constraints: undefined })],
    ['a higher stage', { stage: 'execute', ...details(narrow) }],
  ]
  test.each(wider)('a renewal: %s', async (_, changes) => {
    const resource = `${broker.gateUrl}/crm`
    await expectRefused(broker, asks({ ...(await parent('support-triage')), resource, ...changes }), refused)
  })

  test.each(wider)('a lease handed on: %s', async (_, changes) => {
    // Of a key that the child holds: a lease is handed on to a key only.
    const cnf = { jkt: 'k'.repeat(43) }
    const actor = { actor_token: broker.assertion('support-triage', { cnf }), actor_token_type: jwtType }
    const form = { ...(await parent('planner')), ...actor, resource: `${broker.gateUrl}/crm`, ...changes }
    await expectRefused(broker, asks(form, 'planner'), refused)
  })

  test.each<[string, Changes, string]>([
    ['the whole gate instead of one backend', details(narrow), 'invalid_target'],
    ['another task', { task: 'jira:SUP-4712', ...details(narrow) }, 'invalid_request'],
    ['a session of somebody else', { session: 'ses_other', ...details(narrow) }, 'invalid_request'],
    ['another instance', { instance: 'i-8d', ...details(narrow) }, 'invalid_request'],
  ])('a renewal: %s', async (_, changes, error) => {
    const resource = error === 'invalid_target' ? broker.gateUrl : `${broker.gateUrl}/crm`
    await expectRefused(broker, asks({ ...(await parent('support-triage')), resource, ...changes }), {
      error,
    })
  })

  test('a lease handed on to an agent that it may not go to', async () => {
    const actor = { actor_token: broker.assertion('reader'), actor_token_type: jwtType }
    const form = {
      ...(await parent('planner')),
      ...actor,
      ...details(narrow),
      resource: `${broker.gateUrl}/crm`,
    }
    await expectRefused(broker, asks(form, 'planner'), { error: 'unauthorized_client' })
  })

  test('without details it is narrowed in silence', async () => {
    const form = { ...(await parent('support-triage')), resource: `${broker.gateUrl}/crm` }
    const body = await expectGiven(broker, asks({ ...form, authorization_details: undefined }))
    expect(body.authorization_details).toEqual([{ type: 'lease', ...narrow }])
  })
})

describe('H6 a right that only one of them has', () => {
  const bob = () => ({ subject_token: broker.idToken({ sub: 'bob@example.com' }) })
  const frank = () => ({ subject_token: broker.idToken({ sub: 'frank@example.com', groups: ['support'] }) })
  const left = { authorization_details: undefined }
  test.each<[string, string, () => Changes, string, string]>([
    [
      'the user: a verb',
      'reader',
      () => details({ actions: ['list'] }),
      'invalid_authorization_details',
      'agent_profile_lacks_right',
    ],
    [
      'the user: a ceiling',
      'reader',
      () => details({ sensitivity: 'restricted' }),
      'invalid_authorization_details',
      'agent_profile_lacks_right',
    ],
    [
      'the agent: a ceiling',
      'support-triage',
      () => ({ ...bob(), ...details({}) }),
      'invalid_authorization_details',
      'user_not_entitled',
    ],
    [
      'the agent: a verb',
      'support-triage',
      () => ({ ...bob(), ...details({ actions: ['list'], sensitivity: 'internal' }) }),
      'invalid_authorization_details',
      'user_not_entitled',
    ],
    [
      'the agent: everything, whatever groups the token claims',
      'support-triage',
      () => ({ ...frank(), ...details({}) }),
      'invalid_authorization_details',
      'user_not_entitled',
    ],
    [
      'the agent: left to policy',
      'support-triage',
      () => ({ ...frank(), ...left }),
      'invalid_scope',
      'nothing_left',
    ],
  ])('%s', async (_, clientId, changes, error, reason) => {
    const { record } = await expectRefused(broker, asks(changes(), clientId), { error })
    expect(record.decision.reasons).toContain(reason)
  })

  test('the user: a scope', async () => {
    await expectRefused(broker, asks({ ...left, scope: 'crm:delete' }, 'reader'), { error: 'invalid_scope' })
  })

  test('left to policy, what both have is given', async () => {
    const { authorization_details } = await expectGiven(broker, asks(left, 'reader'))
    expect(authorization_details).toMatchObject([{ actions: ['read'], sensitivity: 'confidential' }])
  })
})
