// What the gate answers itself, before anybody has authenticated, and what that gives away.
import { describe, expect, test } from 'vitest'
import { answerLocally, metadataUrl } from '../../src/enforce/local.ts'
import { type Ask, backendOf, requestOf, valuesOf } from '../support/evidence.ts'

const crm = backendOf()
const desk = backendOf({ name: 'desk', pathPrefix: undefined, hosts: ['crm.gate.example'] })
const facts = {
  publicOrigin: 'https://gate.example',
  issuers: ['https://broker.example'],
  backends: [crm, desk],
  proofAlgorithms: ['ES256', 'EdDSA'],
  certificateBound: false,
}
const answered = (ask: Ask) => answerLocally(requestOf(ask), facts)
const wellKnown = '/.well-known/oauth-protected-resource'

test.each<[string, Ask]>([
  ['A12 `OPTIONS *`', { method: 'OPTIONS', target: '*' }],
  ['A18 OPTIONS at the end of its way', { method: 'OPTIONS', headers: ['Max-Forwards', '0'] }],
])('%s is answered here', (_, ask) => {
  const answer = answered(ask)
  expect(answer).toMatchObject({ status: 204, body: '' })
  expect(valuesOf(answer!.headers, 'allow')).toEqual(['GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'])
})

describe('the metadata of RFC 9728', () => {
  test.each([
    [
      wellKnown,
      'https://gate.example',
      ['crm:read', 'crm:update', 'crm:delete', 'desk:read', 'desk:update', 'desk:delete'],
      {},
    ],
    [
      `${wellKnown}/crm`,
      'https://gate.example/crm',
      ['crm:read', 'crm:update', 'crm:delete'],
      { resource_name: 'crm' },
    ],
  ])('stands at %s', (target, resource, scopes, name) => {
    const answer = answered({ target })!
    expect(answer.status).toBe(200)
    expect(valuesOf(answer.headers, 'content-length')).toEqual([String(Buffer.byteLength(answer.body))])
    expect(JSON.parse(answer.body)).toEqual({
      resource,
      authorization_servers: ['https://broker.example'],
      bearer_methods_supported: ['header'],
      scopes_supported: scopes,
      authorization_details_types_supported: ['lease'],
      dpop_signing_alg_values_supported: ['ES256', 'EdDSA'],
      ...name,
    })
  })

  const always = backendOf({ requireBinding: 'always' })
  const binding = (changes: Partial<typeof facts>) => {
    const { body } = answerLocally(requestOf({ target: `${wellKnown}/crm` }), { ...facts, ...changes })!
    return Object.keys(JSON.parse(body)).filter((member) => /^dpop|^tls/.test(member))
  }
  const [proofs, required] = ['dpop_signing_alg_values_supported', 'dpop_bound_access_tokens_required']
  const certificates = 'tls_client_certificate_bound_access_tokens'
  test.each([
    ['nothing binds', { proofAlgorithms: [] }, []],
    ['proofs do', {}, [proofs]],
    ['certificates do as well', { certificateBound: true }, [proofs, certificates]],
    ['a backend takes bound tokens only', { backends: [always] }, [proofs, required]],
    ['it takes either', { backends: [always], certificateBound: true }, [proofs, certificates]],
  ])('says how tokens are bound where %s', (_, changes, members) => {
    expect(binding(changes)).toEqual(members)
  })

  test('requires proofs of the whole gate only where every backend does', () => {
    const whole = (backends: (typeof crm)[]) =>
      JSON.parse(answerLocally(requestOf({ target: wellKnown }), { ...facts, backends })!.body)
    expect(whole([always, crm])).not.toHaveProperty(required)
    expect(whole([always, { ...desk, requireBinding: 'always' }])).toMatchObject({ [required]: true })
  })

  test('stands where a challenge points to', () => {
    expect(metadataUrl(crm, facts)).toBe(`https://gate.example${wellKnown}/crm`)
    expect(metadataUrl(desk, facts)).toBe(`https://gate.example${wellKnown}`)
    expect(metadataUrl(undefined, facts)).toBe(`https://gate.example${wellKnown}`)
    const unpublished = backendOf({ name: 'leasegate', pathPrefix: '/.well-known/leasegate' })
    expect(metadataUrl(unpublished, facts)).toBe(`https://gate.example${wellKnown}`)
  })

  test('names verbs, and neither paths nor backends’ addresses', () => {
    const { body } = answered({ target: wellKnown })!
    for (const hidden of ['customers', '127.0.0.1', 'backend-key']) expect(body).not.toContain(hidden)
  })
})

test.each<[string, Ask]>([
  ['another method at the metadata', { method: 'POST', target: wellKnown }],
  ['a longer name', { target: `${wellKnown}x` }],
  ['a backend that is not there', { target: `${wellKnown}/erp` }],
  ['below a backend', { target: `${wellKnown}/crm/customers` }],
  ['OPTIONS with a way to go', { method: 'OPTIONS', headers: ['Max-Forwards', '1'] }],
  ['another method with Max-Forwards: 0', { method: 'DELETE', headers: ['Max-Forwards', '0'] }],
  ['any other path', { target: '/crm/customers/9821' }],
])('%s goes on to route', (_, ask) => {
  expect(answered(ask)).toBeUndefined()
})
