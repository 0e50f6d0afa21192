// Bad-input class D over raw sockets: credentials, form, algorithm, key. Whatever is wrong with a
// token, its bearer learns that it is not valid here, and nothing about what is behind the gate.
import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { message, publicOrigin, type TestGate } from '../support/gate.ts'
import type { RawAnswer } from '../support/raw.ts'
import { encode, headerOf, type Json, type TestIssuer, testIssuer, testKey } from '../support/tokens.ts'
import { expectRefused, nothingFollows, refusedRows } from './matrix.ts'
import { challenged, startTwoIssuers, type TokenOf, type TwoIssuers, tokens } from './two_issuers.ts'

let issuers: TwoIssuers
let gate: TestGate
let remote: TestIssuer
beforeAll(async () => {
  issuers = await startTwoIssuers()
  ;({ gate, remote } = issuers)
})
afterAll(() => issuers.close())

const header =
  (overrides: Json): TokenOf =>
  () =>
    gate.issuer.token({}, overrides)

describe('credentials', () => {
  const missing = ({ headers }: RawAnswer, problem: Readonly<Record<string, unknown>>) => {
    expect(problem.error).toBeUndefined()
    expect(headers['www-authenticate']).toBe(
      `Bearer resource_metadata="${publicOrigin}/.well-known/oauth-protected-resource/crm", DPoP algs="ES256 EdDSA"`,
    )
  }
  const fields = (...list: string[]) => message({ fields: list })
  const none = { status: 401, code: 'lease_missing', also: missing } as const
  const two = { status: 400, code: 'credential_ambiguous' } as const
  refusedRows(
    () => gate,
    [
      { row: 'D1', name: 'none', send: () => message({}), ...none },
      { row: 'D1', name: 'none, with a body', send: () => message({ method: 'PUT', body: '{}' }), ...none },
      { row: 'D1', name: 'an empty field', send: () => fields('Authorization:'), ...none },
      { row: 'D1', name: 'a scheme alone', send: () => fields('Authorization: Bearer'), ...none },
      { row: 'D1', name: 'a cookie', send: (token) => fields(`Cookie: access_token=${token}`), ...none },
      {
        row: 'D1',
        name: 'another field',
        send: (token) => fields(`X-Authorization: Bearer ${token}`),
        ...none,
      },
      {
        row: 'D1',
        name: 'an underscore',
        send: (token) => fields(`Authorization_: Bearer ${token}`),
        ...none,
      },
      ...['Basic eDp5', 'Digest x', 'Negotiate abc', 'BearerX abc', 'Bearer a b'].map((value) => ({
        row: 'D15c',
        name: value,
        send: () => fields(`Authorization: ${value}`),
        ...none,
      })),
      {
        row: 'D15a',
        name: 'the same one twice',
        send: (token) => fields(`Authorization: Bearer ${token}`, `Authorization: Bearer ${token}`),
        ...two,
      },
      {
        row: 'D15a',
        name: 'the second one empty, in another letter case',
        send: (token) => fields(`Authorization: Bearer ${token}`, 'AUTHORIZATION:'),
        ...two,
      },
      {
        row: 'D15b',
        name: 'Bearer and DPoP in two fields',
        send: (token) => fields(`Authorization: Bearer ${token}`, 'Authorization: DPoP abc'),
        ...two,
      },
      {
        row: 'D15b',
        name: 'two schemes in one field',
        send: (token) => fields(`Authorization: Bearer ${token}, DPoP abc`),
        ...two,
      },
    ],
  )
})

describe('form, algorithm and key', () => {
  const unsigned =
    (alg: string): TokenOf =>
    () => {
      const parts = [encode({ typ: 'at+jwt', alg, kid: gate.issuer.key.kid }), encode(gate.issuer.claims())]
      return `${parts.join('.')}.`
    }
  const signedBy =
    (alg: 'HS256' | 'ES384' | 'RS256' | 'EdDSA'): TokenOf =>
    () =>
      gate.issuer.raw(
        { typ: 'at+jwt', alg, kid: gate.issuer.key.kid },
        gate.issuer.claims(),
        testKey('x', alg),
      )
  const macWithPublicKey: TokenOf = () =>
    gate.issuer.raw({ typ: 'at+jwt', alg: 'HS256', kid: gate.issuer.key.kid }, gate.issuer.claims(), {
      ...gate.issuer.key,
      alg: 'HS256',
    })
  const macWithJwk: TokenOf = () => {
    const input = `${encode({ typ: 'at+jwt', alg: 'HS256', kid: gate.issuer.key.kid })}.${encode(gate.issuer.claims())}`
    const mac = createHmac('sha256', JSON.stringify(gate.issuer.key.jwk)).update(input).digest('base64url')
    return `${input}.${mac}`
  }
  const part =
    (change: (parts: string[]) => string[]): TokenOf =>
    (token) =>
      change(token.split('.')).join('.')
  const duplicate =
    (text: string): TokenOf =>
    () =>
      gate.issuer.raw(headerOf(gate.issuer.key), text)
  refusedRows(
    () => gate,
    [
      ...tokens('D2', [
        ...['none', 'None', 'NONE', 'nOnE', ''].map(
          (alg) => [`alg ${JSON.stringify(alg)}`, unsigned(alg)] as const,
        ),
        ['an empty signature', part(([head, body]) => [head!, body!, ''])],
        [
          'a signature of zeros',
          part(([head, body]) => [head!, body!, Buffer.alloc(64).toString('base64url')]),
        ],
      ]),
      ...tokens('D3', [
        ['HS256 with the public key as PEM', macWithPublicKey],
        ['HS256 with the public JWK', macWithJwk],
        ['HS256 by another key', signedBy('HS256')],
        ['another family: RS256', signedBy('RS256')],
        ['another family: EdDSA', signedBy('EdDSA')],
        ['another curve: ES384', signedBy('ES384')],
        ['a name that only looks alike', header({ alg: 'es256' })],
        ['no algorithm', header({ alg: undefined })],
        ['an array', header({ alg: ['ES256'] })],
        [
          'another key of the same kind',
          () => gate.issuer.raw(headerOf(gate.issuer.key), gate.issuer.claims(), testKey('y')),
        ],
      ]),
      ...tokens('D4', [
        ...['../../x', 'unknown', '', "x' OR '1'='1", '/dev/null', 'http://evil.example/k', '__proto__'].map(
          (kid) => [`kid ${JSON.stringify(kid)}`, header({ kid })] as const,
        ),
        ['no kid', header({ kid: undefined })],
        ['kid as a number', header({ kid: 1 })],
        [
          'a key of another issuer',
          () => gate.issuer.raw(headerOf(remote.key), gate.issuer.claims(), remote.key),
        ],
      ]),
      ...tokens('D5', [
        ['b64', header({ crit: ['b64'], b64: false })],
        ['an unknown one', header({ crit: ['exp'] })],
        ['none named', header({ crit: [] })],
        ['b64 alone', header({ b64: false })],
      ]),
      ...tokens(
        'D6',
        [
          'JWT',
          'dpop+jwt',
          'id_token+jwt',
          'logout+jwt',
          'secevent+jwt',
          'AT+JWT',
          'at+jwt ',
          'jwt',
          '',
          'statuslist+jwt',
        ]
          .map((typ) => [JSON.stringify(typ), header({ typ })] as const)
          .concat([['absent', header({ typ: undefined })] as const]),
      ),
      ...tokens('D13', [
        ['sub', duplicate(JSON.stringify(testIssuer().claims()).replace('{', '{"sub":"root",'))],
        [
          'deep in the lease',
          duplicate(JSON.stringify(testIssuer().claims()).replace('"stage":', '"stage":"execute","stage":')),
        ],
        [
          'written with an escape',
          duplicate(JSON.stringify(testIssuer().claims()).replace('{', '{"s\\u0075b":"root",')),
        ],
        [
          'in the header',
          () =>
            gate.issuer.raw(
              '{"alg":"none","typ":"at+jwt","alg":"ES256","kid":"test-1"}',
              gate.issuer.claims(),
            ),
        ],
        ['an array for claims', duplicate('[]')],
        ['text after the object', duplicate(`${JSON.stringify(testIssuer().claims())} {}`)],
      ]),
      ...tokens('D14', [
        ['padding', part(([head, body, signature]) => [head!, body!, `${signature}=`])],
        ['unused bits', part(([head, body, signature]) => [head!, body!, unusedBits(signature!)])],
        ['two segments', part(([head, body]) => [head!, body!])],
        ['four segments', part((parts) => [...parts, 'e30'])],
        [
          'five segments: encrypted',
          () => `${encode({ alg: 'dir', enc: 'A256GCM', typ: 'at+jwt' })}.a.b.c.d`,
        ],
        ['an empty header', part(([, body, signature]) => ['', body!, signature!])],
        ['a base64 alphabet', part(([head, body, signature]) => [`${head}+/`, body!, signature!])],
        ['more than 8 KiB', () => gate.token({ pad: 'a'.repeat(8_192) })],
        ['no JWT at all', () => 'opaque-token-0123456789'],
      ]),
    ],
  )

  test('D4 a token can name no address and no key: nothing is fetched for it', async () => {
    const before = issuers.fetched.length
    for (const steering of ['jku', 'x5u', 'jwk', 'x5c', 'x5t#S512', 'zip']) {
      const value = steering === 'jwk' ? testKey('z').jwk : `${issuers.remoteUrl}/evil`
      await expectRefused(gate, {
        send: () => message({ token: gate.issuer.token({}, { [steering]: value }) }),
        status: 401,
        code: 'lease_invalid',
        also: challenged,
      })
    }
    expect(issuers.fetched.slice(before)).toEqual([])
  })

  test('D4 unknown keys of an issuer make the gate ask that issuer once, however many there are', async () => {
    const before = issuers.fetched.length
    const ask = (kid: string) => gate.ask(message({ token: remote.token({}, { kid }) }))
    const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => ask(`forged-${i}`)))
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 401))
    expect(issuers.fetched.slice(before)).toEqual(['/jwks'])
  })
})

/** The last character of a signature with an unused bit set: other text, same bytes. */
function unusedBits(signature: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(signature.at(-1)!)
  return signature.slice(0, -1) + alphabet[last | 1]
}

nothingFollows(
  () => gate,
  () => gate.ask(message({ token: gate.token() })),
)
