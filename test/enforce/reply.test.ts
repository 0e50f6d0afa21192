// What goes back to the agent: a refusal as a problem document with its challenge, or the filtered head of
// the backend's answer.
import { describe, expect, test } from 'vitest'
import { backendHead, type ReplyFacts, refusalAnswer } from '../../src/enforce/reply.ts'
import { type RefusalCode, type RefusalFacts, refusals, refuse } from '../../src/refusals.ts'
import { accepted, backendOf, codeOf, valuesOf } from '../support/evidence.ts'

const metadataUrl = 'https://gate.example/.well-known/oauth-protected-resource/crm'
const reply: ReplyFacts = {
  decisionId: 'dec_1',
  leaseId: 'lse_1',
  scheme: 'Bearer',
  nonce: undefined,
  metadataUrl,
  publicOrigin: 'https://gate.example',
  via: 'leasegate',
}
const codes = Object.keys(refusals) as RefusalCode[]
const answered = (code: RefusalCode, facts?: RefusalFacts) => refusalAnswer(refuse(code, facts), reply)
const challenge = (code: RefusalCode, facts?: RefusalFacts) =>
  valuesOf(answered(code, facts).headers, 'www-authenticate')[0]

describe('a refusal', () => {
  test.each(codes)('%s is a problem document that says what to do', (code) => {
    const { status, headers, body } = answered(code)
    const { title, nextAction } = refusals[code]
    expect(status).toBe(refusals[code].status)
    expect(valuesOf(headers, 'content-type')).toEqual(['application/problem+json'])
    expect(valuesOf(headers, 'content-length')).toEqual([String(Buffer.byteLength(body))])
    expect(valuesOf(headers, 'cache-control')).toEqual(['no-store'])
    expect(valuesOf(headers, 'decision-id')).toEqual(['dec_1'])
    expect(valuesOf(headers, 'lease-refusal')).toEqual([code])
    expect(JSON.parse(body)).toMatchObject({
      type: `urn:leasegate:problem:${code}`,
      title,
      status,
      code,
      decision_id: 'dec_1',
      lease_id: 'lse_1',
      reasons: [],
      next_action: nextAction,
    })
  })

  test('for another task says which, and which lease would do', () => {
    const missing = [
      { type: 'lease' as const, actions: ['read'], identifier: 'crm:customer/1', sensitivity: 'internal' },
    ]
    const facts = { reasons: ['task_mismatch'], missing, answer: { task: 'jira:SUP-1' } }
    expect(JSON.parse(answered('lease_mismatch', facts).body)).toMatchObject({
      status: 403,
      code: 'lease_mismatch',
      task: 'jira:SUP-1',
      authorization_details: missing,
    })
    expect(challenge('lease_mismatch', facts)).toMatch(
      /^Bearer error="insufficient_scope".* scope="crm:read", resource_metadata="/,
    )
  })

  test('carries its detail, its reasons and the lease that would have been enough', () => {
    const missing = [
      {
        type: 'lease' as const,
        actions: ['delete'],
        identifier: 'crm:customer/1',
        sensitivity: 'restricted',
      },
    ]
    const facts = { detail: 'no', reasons: ['verb_not_in_lease'], missing, cause: 'for the record' }
    const { body } = answered('outside_lease', facts)
    expect(JSON.parse(body)).toMatchObject({
      detail: 'no',
      error: 'insufficient_scope',
      reasons: ['verb_not_in_lease'],
      authorization_details: missing,
    })
    expect(body).not.toContain('for the record')
  })

  test('without a lease names none', () => {
    const { headers, body } = refusalAnswer(refuse('lease_missing'), { ...reply, leaseId: undefined })
    expect(JSON.parse(body)).not.toHaveProperty('lease_id')
    expect(valuesOf(headers, 'lease-id')).toEqual([])
  })

  test.each(codes)('%s closes the connection exactly when its row says so', (code) => {
    const closing = refusals[code].close === true ? ['close'] : []
    expect(valuesOf(answered(code).headers, 'connection')).toEqual(closing)
    expect(valuesOf(answered(code, { close: true }).headers, 'connection')).toEqual(['close'])
  })

  test('hands out the nonce for the next proof, when there is a newer one', () => {
    expect(valuesOf(answered('policy_denied').headers, 'dpop-nonce')).toEqual([])
    const { headers } = refusalAnswer(refuse('policy_denied'), { ...reply, nonce: 'newest' })
    expect(valuesOf(headers, 'dpop-nonce')).toEqual(['newest'])
  })

  test('says when to come back, the facts before the row', () => {
    expect(valuesOf(answered('evidence_unavailable').headers, 'retry-after')).toEqual(['2'])
    expect(valuesOf(answered('evidence_unavailable', { retryAfter: 7 }).headers, 'retry-after')).toEqual([
      '7',
    ])
    expect(valuesOf(answered('policy_denied').headers, 'retry-after')).toEqual([])
  })

  test('names the methods that are served', () => {
    expect(valuesOf(answered('method_unmapped', { allow: ['GET', 'PATCH'] }).headers, 'allow')).toEqual([
      'GET, PATCH',
    ])
  })
})

describe('a challenge', () => {
  test('D1 without a credential has no error', () => {
    expect(challenge('lease_missing', { detail: 'send one' })).toBe(
      `Bearer resource_metadata="${metadataUrl}"`,
    )
  })

  test.each([
    ['lease_invalid', 'invalid_token'],
    ['lease_expired', 'invalid_token'],
    ['lease_revoked', 'invalid_token'],
    ['credential_ambiguous', 'invalid_request'],
    ['credential_in_query', 'invalid_request'],
    ['outside_lease', 'insufficient_scope'],
  ] as const)('%s says %s', (code, error) => {
    expect(challenge(code, { detail: 'why' })).toBe(
      `Bearer error="${error}", error_description="why", resource_metadata="${metadataUrl}"`,
    )
  })

  test.each([
    ['lease_missing', 401],
    ['lease_invalid', 401],
    ['binding_required', 401],
    ['outside_lease', 403],
    ['credential_ambiguous', 400],
  ] as const)('%s offers a proof beside it where asking again with one could help', (code, status) => {
    const offered = status === 401 ? ['DPoP algs="ES256 EdDSA"'] : []
    expect(valuesOf(answered(code).headers, 'www-authenticate').slice(1)).toEqual(offered)
  })

  test.each([
    ['lease_invalid', 'invalid_token'],
    ['proof_invalid', 'invalid_dpop_proof'],
    ['proof_nonce_required', 'use_dpop_nonce'],
    ['outside_lease', 'insufficient_scope'],
  ] as const)('%s, to a request under the scheme DPoP, is in that scheme alone', (code, error) => {
    const { headers } = refusalAnswer(refuse(code, { detail: 'why' }), { ...reply, scheme: 'DPoP' })
    expect(valuesOf(headers, 'www-authenticate')).toEqual([
      `DPoP algs="ES256 EdDSA", error="${error}", error_description="why", resource_metadata="${metadataUrl}"`,
    ])
  })

  test('F1 names the scope that is missing', () => {
    const missing = [
      {
        type: 'lease' as const,
        actions: ['delete', 'read'],
        identifier: 'crm:customer/1',
        sensitivity: 'public',
      },
    ]
    expect(challenge('outside_lease', { missing })).toContain('scope="crm:delete crm:read"')
  })

  test('cannot be broken out of', () => {
    expect(challenge('lease_invalid', { detail: 'a"b\\c\r\nSet-Cookie: x\u00e9' })).toContain(
      'error_description="a?b?c??Set-Cookie: x?"',
    )
  })

  test.each(codes.filter((code) => refusals[code].status !== 401 && !('error' in refusals[code])))(
    '%s asks for no credential',
    (code) => {
      expect(challenge(code)).toBeUndefined()
    },
  )
})

type Raw = readonly (string | Buffer)[]
const asked = (changes = {}, path = '/customers/9821') => ({ backend: backendOf(changes), path })
const passedHead = (raw: Raw, status = 200) => accepted(backendHead(status, raw, asked(), reply))

describe('the head of an answer', () => {
  test('passes with the ids of the gate', () => {
    expect(passedHead(['Content-Type', 'text/plain', 'ETag', '"1"', 'X-Total', '2'])).toEqual({
      status: 200,
      headers: [
        ...['content-type', 'text/plain', 'etag', '"1"', 'x-total', '2'],
        ...['via', '1.1 leasegate', 'decision-id', 'dec_1', 'lease-id', 'lse_1'],
      ],
    })
  })

  test('with the nonce for the next proof, when there is a newer one', () => {
    const head = accepted(backendHead(200, ['DPoP-Nonce', 'forged'], asked(), { ...reply, nonce: 'newest' }))
    expect(valuesOf(head.headers, 'dpop-nonce')).toEqual(['newest'])
  })

  test('may come as octets', () => {
    expect(
      valuesOf(passedHead([Buffer.from('X-A'), Buffer.from('caf\xe9', 'latin1')]).headers, 'x-a'),
    ).toEqual(['caf\xe9'])
  })

  test.each([
    'Alt-Svc',
    'Authentication-Info',
    'Connection',
    'Content-Location',
    'DPoP-Nonce',
    'Keep-Alive',
    'Lease-Refusal',
    'Proxy-Authenticate',
    'Proxy-Authentication-Info',
    'Proxy-Connection',
    'Refresh',
    'Set-Cookie',
    'Set-Cookie2',
    'TE',
    'Trailer',
    'Upgrade',
    'WWW-Authenticate',
    'X-Accel-Redirect',
    'X-LIGHTTPD-send-file',
    'X-Reproxy-URL',
    'X-Sendfile',
  ])('I3 without %s', (name) => {
    expect(valuesOf(passedHead([name, 'x', name.toLowerCase(), 'y']).headers, name.toLowerCase())).toEqual([])
  })

  test.each([
    ['Decision-Id', 'dec_1'],
    ['Lease-Id', 'lse_1'],
  ])('with our %s, not the backend’s', (name, value) => {
    expect(valuesOf(passedHead([name, 'forged']).headers, name.toLowerCase())).toEqual([value])
  })

  test('without what its Connection nominates', () => {
    const { headers } = passedHead([
      'Connection',
      'close, X-Hop',
      'connection',
      'X-Hop2',
      'X-Hop',
      '1',
      'X-HOP2',
      '2',
    ])
    expect(headers.filter((_, at) => at % 2 === 0)).toEqual(['via', 'decision-id', 'lease-id'])
  })

  test('with Via continued', () => {
    expect(valuesOf(passedHead(['Via', '1.1 cache']).headers, 'via')).toEqual(['1.1 cache, 1.1 leasegate'])
  })
})

test.each([401, 407])('I3 a backend that says %s refused our credential', (status) => {
  const refusal = backendHead(status, ['WWW-Authenticate', 'Basic realm="internal"'], asked(), reply)
  expect(refusal).toMatchObject({ code: 'backend_unauthorized', row: { status: 502 } })
  expect(JSON.stringify(refusalAnswer(refuse('backend_unauthorized'), reply))).not.toContain('internal')
})

describe('I5 an answer whose end two parsers could see in two places', () => {
  const framed = (...raw: string[]) => codeOf(backendHead(200, raw, asked(), reply))

  test.each([
    ['a coding that only ends in chunked', ['Transfer-Encoding', 'xchunked']],
    ['another coding', ['Transfer-Encoding', 'identity']],
    ['a coding before chunked', ['Transfer-Encoding', 'gzip, chunked']],
    ['chunked twice', ['Transfer-Encoding', 'chunked, chunked']],
    ['an empty coding', ['Transfer-Encoding', '']],
    ['a parameter', ['Transfer-Encoding', 'chunked;q=1']],
    ['two lines', ['Transfer-Encoding', 'chunked', 'X-A', '1', 'transfer-encoding', 'chunked']],
    ['a length behind the coding', ['Transfer-Encoding', 'chunked', 'Content-Length', '5']],
    ['a length before the coding', ['content-length', '5', 'TRANSFER-ENCODING', 'chunked']],
  ])('%s: not passed on', (_, raw) => {
    expect(framed(...raw)).toBe('backend_malformed')
  })

  test.each([
    ['chunks', ['Transfer-Encoding', 'chunked']],
    ['chunks in another letter case', ['TRANSFER-ENCODING', 'Chunked']],
    ['a length', ['Content-Length', '5']],
    ['neither', []],
  ])('%s: passed on, without the coding', (_, raw) => {
    expect(framed(...raw)).toBe('accepted')
    expect(valuesOf(passedHead(raw).headers, 'transfer-encoding')).toEqual([])
  })
})

test.each([400, 403, 404, 500, 503])('a %s of the backend is its own affair', (status) => {
  expect(passedHead([], status).status).toBe(status)
})

describe('a redirect', () => {
  const located = (value: string, changes = {}, status = 302, path?: string) => {
    const result = backendHead(status, ['Location', value], asked(changes, path), reply)
    return codeOf(result) === 'accepted' ? valuesOf(accepted(result).headers, 'location')[0] : codeOf(result)
  }
  const onHost = { pathPrefix: undefined, hosts: ['crm.gate.example'] }

  test.each([
    ['9822', 'https://gate.example/crm/customers/9822'],
    ['a/b?c#d', 'https://gate.example/crm/customers/a/b?c#d'],
    ['?page=2', 'https://gate.example/crm/customers/9821?page=2'],
    ['#top', 'https://gate.example/crm/customers/9821?q=1#top'],
    ['', 'https://gate.example/crm/customers/9821?q=1'],
    ['./x', 'https://gate.example/crm/customers/x'],
    ['../x', 'https://gate.example/crm/x'],
    ['../../hr/employees/1', 'https://gate.example/crm/hr/employees/1'],
    ['%2e%2e/%2E%2e/hr', 'https://gate.example/crm/hr'],
  ])('to %j is resolved as the backend meant it', (value, location) => {
    expect(located(value, {}, 302, '/customers/9821?q=1')).toBe(location)
  })

  test.each([
    ['9822', 'https://gate.example/crm/customers/9822'],
    ['../../v1/x', 'backend_malformed'],
    ['../..', 'backend_malformed'],
    ['..\\..\\v1', 'backend_malformed'],
    ['%2e%2e/%2e%2e/v1/x', 'backend_malformed'],
    ['../../v2x/y', 'backend_malformed'],
  ])('I3 to %s does not climb out of the base path', (value, location) => {
    expect(located(value, { basePath: '/v2' }, 302, '/v2/customers/9821')).toBe(location)
  })

  test.each([
    ['/customers/2', 'https://gate.example/crm/customers/2'],
    ['/', 'https://gate.example/crm/'],
    ['http://127.0.0.1:3000/customers/2?a=1#b', 'https://gate.example/crm/customers/2?a=1#b'],
    ['HTTP://127.0.0.1:3000/x', 'https://gate.example/crm/x'],
    ['//127.0.0.1:3000/x', 'https://gate.example/crm/x'],
    ['/a/../b', 'https://gate.example/crm/b'],
    ['/a\\b', 'https://gate.example/crm/a/b'],
  ])('to %s stays within the backend', (value, location) => {
    expect(located(value)).toBe(location)
  })

  test.each([
    ['/v2/x', 'https://gate.example/crm/x'],
    ['/v2', 'https://gate.example/crm/'],
    ['/v2?a=1', 'https://gate.example/crm/?a=1'],
    ['/v1/x', 'backend_malformed'],
    ['/v2x', 'backend_malformed'],
    ['/', 'backend_malformed'],
    ['/v2/../v1/x', 'backend_malformed'],
  ])('to %s below a base path', (value, location) => {
    expect(located(value, { basePath: '/v2' })).toBe(location)
  })

  test.each([
    ['/x', '/x'],
    ['http://127.0.0.1:3000/x', '/x'],
    ['/', '/'],
    ['//127.0.0.1:3000//evil.example/x', 'backend_malformed'],
    ['http://127.0.0.1:3000//evil.example/x', 'backend_malformed'],
    ['/.//evil.example/x', 'backend_malformed'],
    ['/a/..//evil.example', 'backend_malformed'],
  ])('to %s of a backend with an authority of its own', (value, location) => {
    expect(located(value, onHost)).toBe(location)
  })

  test.each([
    ['another host', 'http://evil.example/x'],
    ['another port', 'http://127.0.0.1:3001/x'],
    ['another scheme', 'https://127.0.0.1:3000/x'],
    ['a host without a scheme', '//evil.example/x'],
    ['backslashes', '\\\\evil.example/x'],
    ['a slash and a backslash', '/\\evil.example/x'],
    ['a backslash and a slash', '\\/evil.example/x'],
    ['a tab that URL parsers skip', '/\t/evil.example/x'],
    ['a control that URL parsers skip', '\x01//evil.example/x'],
    ['a control before a scheme', '\x1fhttp://evil.example/x'],
    ['three slashes', '///evil.example/x'],
    ['a scheme without slashes', 'https:evil.example'],
    ['a tab within the scheme', 'ht\ttp://evil.example'],
    ['userinfo that looks like us', 'http://127.0.0.1:3000@evil.example/'],
    ['userinfo', 'http://user@127.0.0.1:3000/x'],
    ['a script', 'javascript:alert(1)'],
    ['data', 'data:text/html,x'],
    ['something that is no URL', 'http://'],
  ])('I3 to %s is not passed on', (_, value) => {
    for (const shape of [{}, onHost]) {
      expect(located(value, shape)).toBe('backend_malformed')
      expect(located(value, shape, 308)).toBe('backend_malformed')
    }
  })

  test('one of two Locations that leads away is enough', () => {
    const raw = ['Location', '/x', 'Location', 'http://evil.example/']
    expect(codeOf(backendHead(302, raw, asked(), reply))).toBe('backend_malformed')
  })

  test('elsewhere than in a redirect, a Location that leads away is left out', () => {
    expect(located('http://evil.example/x', {}, 201)).toBeUndefined()
    expect(located('/customers/2', {}, 201)).toBe('https://gate.example/crm/customers/2')
  })
})
