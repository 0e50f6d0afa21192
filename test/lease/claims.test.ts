import { describe, expect, test } from 'vitest'
import type { Fault } from '../../src/lease/faults.ts'
import { maxLeaseSeconds } from '../../src/lease/lease.ts'
import type { IssuerProfile } from '../../src/lease/profile.ts'
import { createVerifier } from '../../src/lease/verify.ts'
import { type Json, testIssuer } from '../support/tokens.ts'
import {
  accepted,
  act,
  audiences,
  broker,
  claims,
  detail,
  header,
  invalid,
  keys,
  lease,
  now,
  refused,
  verify,
} from './harness.ts'

describe('a valid token', () => {
  test('gives every fact of the lease', async () => {
    expect(await accepted(broker.token())).toMatchObject({
      id: 'lse_01TEST',
      issuer: 'https://broker.example',
      tokenId: 'ltk_01TEST',
      user: 'alice@example.com',
      agent: {
        id: 'agent:support-triage',
        version: '3.2.1',
        env: 'prod',
        instance: 'i-7c',
        profile: 'support',
      },
      clientId: 'support-triage',
      audience: 'https://gate.example',
      task: { system: 'jira', id: 'SUP-4711', purpose: "answer the customer's billing question" },
      stage: 'observe',
      session: 'ses_01TEST',
      grants: [
        {
          actions: ['read'],
          identifier: 'crm:customer/9821',
          sensitivity: 'confidential',
          constraints: { max_calls: 20 },
        },
      ],
      issuedAt: now,
      notBefore: now,
      expiresAt: now + 300,
      maxExpiresAt: now + 3600,
      clockTolerance: 5,
    })
  })

  test('knows every key under which it could be revoked', async () => {
    const { revocationKeys } = await accepted(broker.token())
    expect(revocationKeys).toContain('agent_version\nagent:support-triage@3.2.1')
    expect(revocationKeys).toContain('task\njira:SUP-4711\nhttps://broker.example')
    expect(revocationKeys).toContain('token\nltk_01TEST\nhttps://broker.example')
    expect(revocationKeys).toHaveLength(14)
  })

  test('is frozen to the last member', async () => {
    const { grants, agent, task } = await accepted(broker.token())
    for (const part of [grants, grants[0], grants[0]?.constraints, grants[0]?.actions, agent, task]) {
      expect(Object.isFrozen(part)).toBe(true)
    }
  })

  const rows: [name: string, payload: Json, profile?: Partial<IssuerProfile>][] = [
    ['for one backend only', claims({ aud: 'https://gate.example/crm' })],
    ['without nbf', claims({ nbf: undefined })],
    ['with times in fractions of a second', claims({ iat: now - 0.5, exp: now + 299.5 })],
    ['issued within the clock tolerance', claims({ iat: now + 5, nbf: now + 5, exp: now + 300 })],
    ['expired within the clock tolerance', claims({ iat: now - 200, nbf: now - 200, exp: now - 4 })],
    ['of the longest life', claims({ exp: now + 300 })],
    ['of a lease of 30 days', lease({ max_exp: now + maxLeaseSeconds })],
    ['of a lease that ends with it', lease({ max_exp: now + 300 })],
    ['of a workflow that acts for itself', claims({ sub: 'workflow:nightly', act: undefined })],
    ['of a workflow with an agent', claims({ sub: 'workflow:nightly' })],
    ['with an actor behind the actor', act({ act: { sub: 'agent:planner', iss: 'https://broker.example' } })],
    ['without an agent instance', lease({ agent: { version: '1', env: 'prod', policy_profile: 'p' } })],
    ['with a subtree', detail({ identifier: 'crm:customer/*' })],
    ['with an encoded slash and a space inside an id', detail({ identifier: 'docs:file/a%2Fb c' })],
    ['with every action where the profile allows it', detail({ actions: ['*'] }), { allowAnyAction: true }],
    ['with the location of its audience', detail({ locations: ['https://gate.example'] })],
    [
      'with the location of its audience among others',
      detail({ locations: ['https://x.example', 'https://gate.example'] }),
    ],
    ['with claims that we do not know', claims({ acr: 'urn:x', auth_time: now, roles: [{ a: null }] })],
    ['of a user outside ASCII', claims({ sub: 'zoë@example.com' })],
  ]
  test.each(rows)('%s is accepted', async (_name, payload, profile) => {
    expect(await accepted(broker.raw(header, payload), profile)).toMatchObject({ id: 'lse_01TEST' })
  })

  test.each([
    ['typ application/at+jwt', { typ: 'application/at+jwt' }],
    ['a certificate fingerprint', { x5t: 'abc', 'x5t#S256': 'def' }],
  ])('%s in the header is accepted', async (_name, members) => {
    expect(await accepted(broker.token({}, members))).toMatchObject({ id: 'lse_01TEST' })
  })

  test.each(['ES384', 'RS256', 'PS256', 'EdDSA'] as const)('signed with %s is accepted', async (alg) => {
    const other = testIssuer({ now, alg, issuer: 'https://other.example' })
    const otherKeys = await other.keys()
    const verifier = createVerifier({ issuers: [other.profile()], keys: otherKeys })
    expect(await verifier.verify(other.token(), now, audiences)).toMatchObject({ issuer: other.issuer })
    otherKeys.close()
  })

  test('without a sensitivity grants what is public, without constraints none', async () => {
    const bare = claims({
      authorization_details: [{ type: 'lease', actions: ['read'], identifier: 'crm:a' }],
    })
    const { grants } = await accepted(broker.raw(header, bare))
    expect(grants).toEqual([
      { actions: ['read'], identifier: 'crm:a', sensitivity: 'public', constraints: {} },
    ])
  })

  test('names an actor of another issuer with that issuer', async () => {
    const { agent } = await accepted(broker.raw(header, act({ iss: 'https://idp.example' })))
    expect(agent.id).toBe('https://idp.example#agent:support-triage')
  })

  test('names a workflow without an actor as its own agent', async () => {
    const { agent, user } = await accepted(broker.token({ sub: 'workflow:nightly', act: undefined }))
    expect([agent.id, user]).toEqual(['workflow:nightly', 'workflow:nightly'])
  })

  test('issued within a second was issued at its beginning: a revocation of that second kills it', async () => {
    const { issuedAt } = await accepted(broker.token({ iat: now - 0.1, exp: now + 299 }))
    expect(issuedAt).toBe(now - 1)
  })

  test('is not read from a claim that is literally called like a path', async () => {
    const found = await accepted(broker.token({ 'act.sub': 'agent:other' }))
    expect(found.agent.id).toBe('agent:support-triage')
    const { act: _, ...rest } = claims({ 'act.sub': 'agent:other' })
    expect(await refused(broker.raw(header, rest))).toEqual(invalid('act_missing'))
  })

  test('of a foreign shape is read where the profile says', async () => {
    const { lease: terms, authorization_details: details, act: _, ...rest } = claims()
    const foreign = {
      ...rest,
      email: 'a@b.example',
      azp: 'bot',
      'https://x.example/lease': terms,
      ext: { details },
    }
    const mapping = { user: 'email', agent: 'azp', lease: 'https://x.example/lease', details: 'ext.details' }
    const found = await accepted(broker.raw(header, foreign), { claims: mapping })
    expect([found.user, found.agent.id, found.grants.length]).toEqual(['a@b.example', 'bot', 1])
  })
})

describe('the claims (D7 to D12)', () => {
  const deep = { sub: 'a', iss: 'i', act: { sub: 'b', iss: 'i', act: { sub: 'c', iss: 'i' } } }
  const without = (name: string) => claims({ [name]: undefined })
  const rows: [name: string, payload: Json | string, cause: Fault][] = [
    // D8
    ...[
      'https://broker.example/',
      'https://BROKER.example',
      'http://broker.example',
      'https://broker.example ',
      'broker.example',
      '',
      1,
      null,
      ['https://broker.example'],
      { a: 1 },
      undefined,
    ].map((iss): [string, Json, Fault] => [`iss ${JSON.stringify(iss)}`, claims({ iss }), 'issuer_unknown']),
    // D9
    ...[
      'https://gate.example/',
      'https://gate.example.evil.example',
      'https://gate.exampl',
      'https://GATE.example',
      'crm',
      'https://gate.example/crm/',
      'https://gate.example/mail',
    ].map((aud): [string, Json, Fault] => [`aud ${aud}`, claims({ aud }), 'audience_not_here']),
    ['no aud', without('aud'), 'claim_malformed'],
    [
      'an array of audiences',
      claims({ aud: ['https://gate.example', 'https://x.example'] }),
      'claim_malformed',
    ],
    ['an array of one audience', claims({ aud: ['https://gate.example'] }), 'claim_malformed'],
    ['aud null', claims({ aud: null }), 'claim_malformed'],
    // D7, D10
    ...['iat', 'exp'].map((name): [string, Json, Fault] => [`no ${name}`, without(name), 'time_malformed']),
    ...[String(now + 300), null, true, [now + 300], {}, 0, -1].map((exp): [string, Json, Fault] => [
      `exp ${JSON.stringify(exp)}`,
      claims({ exp }),
      'time_malformed',
    ]),
    ['iat as a string', claims({ iat: String(now) }), 'time_malformed'],
    ['nbf as a string', claims({ nbf: String(now) }), 'time_malformed'],
    ['nbf null', claims({ nbf: null }), 'time_malformed'],
    ['exp before iat', claims({ iat: now, exp: now - 1 }), 'time_malformed'],
    ['exp before nbf', claims({ nbf: now + 400 }), 'time_malformed'],
    ['nbf in the future', claims({ nbf: now + 6 }), 'not_yet_valid'],
    ['iat in the future', claims({ iat: now + 6, nbf: now, exp: now + 200 }), 'issued_in_the_future'],
    ['a life of 301 seconds', claims({ exp: now + 301 }), 'lifetime_too_long'],
    ['a life of 300.5 seconds', claims({ exp: now + 300.5 }), 'lifetime_too_long'],
    ['exp in milliseconds', claims({ exp: (now + 300) * 1000 }), 'lifetime_too_long'],
    [
      'a lease that ends 30 days and a second from now',
      lease({ max_exp: now + maxLeaseSeconds + 1 }),
      'lifetime_too_long',
    ],
    ['max_exp in milliseconds', lease({ max_exp: (now + 3600) * 1000 }), 'lifetime_too_long'],
    ['exp beyond the lease', lease({ max_exp: now + 299 }), 'beyond_lease'],
    ...['jti', 'sub', 'client_id'].flatMap((name): [string, Json, Fault][] => [
      [`no ${name}`, without(name), 'claim_malformed'],
      [`${name} as a number`, claims({ [name]: 7 }), 'claim_malformed'],
      [`${name} empty`, claims({ [name]: '' }), 'claim_malformed'],
      [`${name} null`, claims({ [name]: null }), 'claim_malformed'],
      [`${name} in an array`, claims({ [name]: ['a'] }), 'claim_malformed'],
    ]),
    // names that are not what they look like
    ...Object.entries({
      'a line break': 'alice\r\nLease-User: root',
      'a line feed': 'alice\n',
      'a NUL': 'alice\0',
      'an escape character': 'alice\x1b[2J',
      'a C1 control': 'alice\x85',
      'a bidi override': 'alice\u202eecila',
      'a bidi isolate': '\u2066alice',
      'a zero-width space': 'ali\u200bce',
      'a soft hyphen': 'ali\u00adce',
      'a line separator': 'alice\u2028',
      'a space in front': ' alice',
      'a space at the end': 'alice ',
      'a no-break space at the end': 'alice\u00a0',
      'a decomposed letter': 'zoe\u0308',
      '257 characters': 'a'.repeat(257),
    }).map(([name, sub]): [string, Json, Fault] => [`sub with ${name}`, claims({ sub }), 'claim_malformed']),
    [
      'a token bound in a way that is not known',
      claims({ cnf: { kid: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' } }),
      'binding_not_supported',
    ],
    ['an empty cnf', claims({ cnf: {} }), 'binding_not_supported'],
    ['cnf null', claims({ cnf: null }), 'binding_not_supported'],
    // D12
    ['a person without act', without('act'), 'act_missing'],
    [
      'a person whose name starts like a workflow',
      claims({ sub: 'Workflow:x', act: undefined }),
      'act_missing',
    ],
    ['act without sub', act({ sub: undefined }), 'act_malformed'],
    ['act without iss', act({ iss: undefined }), 'act_malformed'],
    ['act with a sub that is no text', act({ sub: 1 }), 'act_malformed'],
    ['act with a line break', act({ sub: 'agent\nx' }), 'act_malformed'],
    ['act with a broken sub_profile', act({ sub_profile: ['ai_agent'] }), 'act_malformed'],
    ['act as a string', claims({ act: 'agent:x' }), 'act_malformed'],
    ['act as an array', claims({ act: [claims().act] }), 'act_malformed'],
    ['act null', claims({ act: null }), 'act_malformed'],
    ['a workflow with a broken act', claims({ sub: 'workflow:x', act: {} }), 'act_malformed'],
    ['an actor behind the actor without iss', act({ act: { sub: 'agent:b' } }), 'act_malformed'],
    ['an actor behind the actor that is null', act({ act: null }), 'act_malformed'],
    ['three actors', claims({ act: deep }), 'act_too_deep'],
    // D11
    ['no lease', without('lease'), 'lease_claim_missing'],
    ['lease null', claims({ lease: null }), 'lease_claim_malformed'],
    ['lease as a string', claims({ lease: 'lse_01TEST' }), 'lease_claim_malformed'],
    ['lease as an array', claims({ lease: [claims().lease] }), 'lease_claim_malformed'],
    ...['id', 'stage', 'max_exp', 'task', 'session', 'agent'].map((name): [string, Json, Fault] => [
      `a lease without ${name}`,
      lease({ [name]: undefined }),
      'lease_claim_malformed',
    ]),
    ...['01TEST', 'lse_', 'LSE_01', 'lse_a b', 'lse_a\n', 'lse_ä', `lse_${'a'.repeat(125)}`, 7].map(
      (id): [string, Json, Fault] => [
        `lease id ${JSON.stringify(id)}`,
        lease({ id }),
        'lease_claim_malformed',
      ],
    ),
    ...['Observe', 'admin', '', 'observe ', ['observe'], 0].map((stage): [string, Json, Fault] => [
      `stage ${JSON.stringify(stage)}`,
      lease({ stage }),
      'lease_claim_malformed',
    ]),
    ['max_exp as a string', lease({ max_exp: String(now + 3600) }), 'lease_claim_malformed'],
    ['a task without a purpose', lease({ task: { system: 'jira', id: 'X' } }), 'lease_claim_malformed'],
    [
      'a task with a line break',
      lease({ task: { system: 'jira', id: 'X\nY', purpose: 'p' } }),
      'lease_claim_malformed',
    ],
    ['a task as a string', lease({ task: 'jira:X' }), 'lease_claim_malformed'],
    ['a session with a tab', lease({ session: 'ses\t1' }), 'lease_claim_malformed'],
    [
      'an agent without a version',
      lease({ agent: { env: 'prod', policy_profile: 'p' } }),
      'lease_claim_malformed',
    ],
    [
      'an agent without env',
      lease({ agent: { version: '1', policy_profile: 'p' } }),
      'lease_claim_malformed',
    ],
    ['an agent without a profile', lease({ agent: { version: '1', env: 'prod' } }), 'lease_claim_malformed'],
    [
      'env as an array',
      lease({ agent: { version: '1', env: ['prod'], policy_profile: 'p' } }),
      'lease_claim_malformed',
    ],
    [
      'an instance that is no text',
      lease({ agent: { version: '1', env: 'prod', policy_profile: 'p', instance: 1 } }),
      'lease_claim_malformed',
    ],
    // authorization_details
    ['no details', without('authorization_details'), 'details_missing'],
    ['empty details', claims({ authorization_details: [] }), 'details_missing'],
    ['details as an object', claims({ authorization_details: {} }), 'details_malformed'],
    ['details as text', claims({ authorization_details: '[]' }), 'details_malformed'],
    [
      '65 details',
      claims({ authorization_details: Array(65).fill({ type: 'lease', actions: ['r'], identifier: 'c:a' }) }),
      'details_malformed',
    ],
    ['a null detail', claims({ authorization_details: [null] }), 'details_malformed'],
    [
      'one good and one unknown detail',
      claims({ authorization_details: [(claims().authorization_details as Json[])[0], { type: 'payment' }] }),
      'details_type_unknown',
    ],
    ['a detail without type', detail({ type: undefined }), 'details_type_unknown'],
    ['an unknown member', detail({ privileges: ['admin'] }), 'details_malformed'],
    ['a member in another case', detail({ Actions: ['delete'] }), 'details_malformed'],
    ['actions as text', detail({ actions: 'read' }), 'details_malformed'],
    ['no actions', detail({ actions: [] }), 'details_malformed'],
    ['an empty action', detail({ actions: ['read', ''] }), 'details_malformed'],
    ['an action that is no text', detail({ actions: [1] }), 'details_malformed'],
    ['an action with a star in it', detail({ actions: ['re*'] }), 'details_malformed'],
    ['every action', detail({ actions: ['*'] }), 'details_any_action'],
    ['every action among others', detail({ actions: ['read', '*'] }), 'details_any_action'],
    ...[
      '',
      'crm',
      'crm:',
      ':customer',
      'crm:*',
      '*',
      '*:customer',
      'crm:customer/',
      'crm:/customer',
      'crm:a//b',
      'crm:a/*/b',
      'crm:a/b*',
      'crm:*/b',
      'crm:a/**',
      'crm:a/*/*',
      'crm:a/../b',
      'crm:.',
      'crm:a/%2f',
      'crm:a/%',
      'crm:a\\b',
      'c m:a',
      'crm:a\n',
      ' crm:a',
      7,
      null,
    ].map((identifier): [string, Json, Fault] => [
      `identifier ${JSON.stringify(identifier)}`,
      detail({ identifier }),
      'details_malformed',
    ]),
    ['an unknown sensitivity', detail({ sensitivity: 'secret' }), 'details_malformed'],
    ['a sensitivity in another case', detail({ sensitivity: 'Public' }), 'details_malformed'],
    ['sensitivity null', detail({ sensitivity: null }), 'details_malformed'],
    ['constraints as an array', detail({ constraints: [] }), 'details_malformed'],
    ['constraints null', detail({ constraints: null }), 'details_malformed'],
    ['no location', detail({ locations: [] }), 'details_location'],
    ['another location', detail({ locations: ['https://gate.example/mail'] }), 'details_location'],
    ['a location that is no text', detail({ locations: [1, 'https://gate.example'] }), 'details_location'],
    // a status that nobody here can check
    [
      'a status list without configuration',
      claims({ status: { status_list: { idx: 0, uri: 'https://x.example/1' } } }),
      'status_list_not_allowed',
    ],
    ['another status mechanism', claims({ status: { ocsp: 1 } }), 'status_malformed'],
    ['a status list as a string', claims({ status: { status_list: 'x' } }), 'status_malformed'],
    ['status null', claims({ status: null }), 'status_malformed'],
    [
      'a negative status index',
      claims({ status: { status_list: { idx: -1, uri: 'https://x.example/1' } } }),
      'status_malformed',
    ],
    [
      'a fractional status index',
      claims({ status: { status_list: { idx: 0.5, uri: 'https://x.example/1' } } }),
      'status_malformed',
    ],
    ['a status without a URI', claims({ status: { status_list: { idx: 0 } } }), 'status_malformed'],
  ]
  test.each(rows)('%s is refused', async (_name, payload, cause) => {
    expect(await refused(broker.raw(header, payload))).toEqual(invalid(cause))
  })

  test('an expired token is refused as expired', async () => {
    expect(await refused(broker.token(), {}, now + 305)).toEqual({ code: 'lease_expired', cause: 'expired' })
    expect(await verify(broker.token(), {}, now + 304)).toMatchObject({ id: 'lse_01TEST' })
  })

  test('at a time that is no number every token is refused', async () => {
    expect(await refused(broker.token(), {}, Number.NaN)).toEqual({ code: 'lease_expired', cause: 'expired' })
  })

  test('an agent that stands elsewhere has to stand there, act or no act', async () => {
    const mapping = { ...broker.profile().claims, agent: 'azp' }
    const { act: _, ...alone } = claims()
    expect(await refused(broker.token(), { claims: mapping })).toEqual(invalid('act_malformed'))
    expect(await refused(broker.raw(header, alone), { claims: mapping })).toEqual(invalid('act_missing'))
    const numbered = broker.raw(header, { ...alone, azp: 7 })
    expect(await refused(numbered, { claims: mapping })).toEqual(invalid('act_malformed'))
  })

  test('an audience that another issuer may use is refused', async () => {
    const other = { ...broker.profile(), issuer: 'https://other.example', audience: 'urn:other:gate' }
    const { verify: verifyOf } = createVerifier({ issuers: [broker.profile(), other], keys })
    const names = [...audiences, 'urn:other:gate']
    expect(await verifyOf(broker.token({ aud: 'urn:other:gate' }), now, names)).toMatchObject({
      code: 'lease_invalid',
      facts: { cause: 'audience_not_allowed' },
    })
    expect(await verifyOf(broker.token(), now, names)).toMatchObject({ id: 'lse_01TEST' })
  })
})
