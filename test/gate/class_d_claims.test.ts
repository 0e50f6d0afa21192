// Bad-input class D over raw sockets: claims. Whatever is wrong with a token, its
// bearer learns that it is not valid here, and nothing about what is behind the gate.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { message, publicOrigin, type TestGate } from '../support/gate.ts'
import { headerOf, type Json, type TestIssuer } from '../support/tokens.ts'
import { expectRefused, nothingFollows, refusedRows } from './matrix.ts'
import { challenged, now, startTwoIssuers, type TokenOf, type TwoIssuers, tokens } from './two_issuers.ts'

let issuers: TwoIssuers
let gate: TestGate
let remote: TestIssuer
beforeAll(async () => {
  issuers = await startTwoIssuers()
  ;({ gate, remote } = issuers)
})
afterAll(() => issuers.close())

/** A token with these claims over the usual ones; undefined removes one. */
const claims =
  (overrides: Json): TokenOf =>
  () =>
    gate.token(overrides)
const lease =
  (overrides: Json): TokenOf =>
  () =>
    gate.token({}, overrides)
describe('claims', () => {
  const act = { iss: 'https://broker.example', sub: 'agent:support-triage' }
  const list = (...audiences: string[]) => claims({ aud: audiences })
  refusedRows(
    () => gate,
    [
      ...tokens('D7', [
        ['nbf in the future', () => gate.token({ nbf: now() + 60 })],
        ['iat in the future', () => gate.token({ iat: now() + 60, nbf: now(), exp: now() + 200 })],
        ['exp as a string', () => gate.token({ exp: String(now() + 100) })],
        ['exp missing', claims({ exp: undefined })],
        ['iat missing', claims({ iat: undefined })],
        ['exp null', claims({ exp: null })],
        ['exp an array', () => gate.token({ exp: [now() + 100] })],
        ['exp beyond every number', () => gate.issuer.raw(headerOf(gate.issuer.key), withExp('1e999'))],
        ['nbf as a string', () => gate.token({ nbf: String(now()) })],
        ['iat negative', claims({ iat: -1 })],
        ['exp before iat', () => gate.token({ iat: now(), exp: now() - 1 })],
      ]),
      ...tokens(
        'D7',
        [['expired', () => gate.token({ iat: now() - 200, nbf: now() - 200, exp: now() - 60 })]],
        { status: 401, code: 'lease_expired', also: challenged },
      ),
      ...tokens('D8', [
        ['a trailing slash', claims({ iss: 'https://broker.example/' })],
        ['another letter case', claims({ iss: 'https://Broker.example' })],
        ['http', claims({ iss: 'http://broker.example' })],
        ['a port', claims({ iss: 'https://broker.example:443' })],
        ['an array', claims({ iss: ['https://broker.example'] })],
        ['missing', claims({ iss: undefined })],
        ['unknown', claims({ iss: 'https://evil.example' })],
        ['__proto__', claims({ iss: '__proto__' })],
        ['another of ours', () => gate.token({ iss: remote.issuer })],
      ]),
      ...tokens('D9', [
        ['missing', claims({ aud: undefined })],
        ['another gate', claims({ aud: 'http://other.example' })],
        ['another backend', claims({ aud: `${publicOrigin}/billing` })],
        ['a backend that only begins alike', claims({ aud: `${publicOrigin}/crmx` })],
        ['a trailing slash', claims({ aud: `${publicOrigin}/` })],
        ['an array with others', list(publicOrigin, 'http://other.example')],
        ['an array of one', list(publicOrigin)],
        ['an empty array', list()],
        ['two in one string', claims({ aud: `${publicOrigin} http://other.example` })],
      ]),
      ...tokens('D10a', [
        ...['jti', 'sub', 'client_id', 'authorization_details'].map(
          (name) => [`${name} missing`, claims({ [name]: undefined })] as const,
        ),
        ['jti empty', claims({ jti: '' })],
        ['jti as a number', claims({ jti: 1 })],
        ...['id', 'stage', 'max_exp', 'task', 'session', 'agent'].map(
          (name) => [`lease.${name} missing`, lease({ [name]: undefined })] as const,
        ),
        ['an unknown stage', lease({ stage: 'root' })],
        ['nothing granted', claims({ authorization_details: [] })],
        ['a grant of another type', claims({ authorization_details: [{ type: 'payment' }] })],
      ]),
      ...tokens('D10b', [
        ['301 seconds', () => gate.token({ iat: now(), exp: now() + 301 })],
        ['beyond the lease', () => gate.token({}, { max_exp: now() + 100 })],
      ]),
      ...tokens('D11', [
        ['missing', claims({ lease: undefined })],
        ['null', claims({ lease: null })],
        ['a string', claims({ lease: 'lse_1' })],
      ]),
      ...tokens('D12', [
        ['no act', claims({ act: undefined })],
        ['act null', claims({ act: null })],
        ['act without sub', claims({ act: { iss: act.iss } })],
        ['act without iss', claims({ act: { sub: act.sub } })],
        ['act an array', claims({ act: [act] })],
        ['sub empty', claims({ act: { ...act, sub: '' } })],
        ['a chain too deep', claims({ act: { ...act, act: { ...act, act: { ...act, act } } } })],
        ['bound to a key that is not proven', claims({ cnf: { jkt: 'abc' } })],
      ]),
    ],
  )

  function withExp(value: string): string {
    return JSON.stringify(gate.issuer.claims()).replace(/"exp":\d+/, `"exp":${value}`)
  }

  test('D9 the identifier of the backend itself is accepted', async () => {
    const { status } = await gate.ask(message({ token: gate.token({ aud: `${publicOrigin}/crm` }) }))
    expect(status).toBe(200)
  })

  test('D20 a lease for another environment is refused, and says so', async () => {
    for (const env of ['dev', 'PROD', 'production', 'prod2']) {
      const agent = { version: '3.2.1', env, instance: 'i-7c', policy_profile: 'support' }
      await expectRefused(gate, {
        send: () => message({ token: gate.token({}, { agent }) }),
        status: 403,
        code: 'outside_lease',
        also: ({ headers }, { error, reasons }) => {
          expect(error).toBe('insufficient_scope')
          expect(reasons).toEqual(['environment_mismatch'])
          expect(headers['www-authenticate']).toContain('error="insufficient_scope"')
        },
      })
    }
  })
})

nothingFollows(
  () => gate,
  () => gate.ask(message({ token: gate.token() })),
)
