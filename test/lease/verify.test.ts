import { describe, expect, test } from 'vitest'
import type { Fault } from '../../src/lease/faults.ts'
import { createVerifier } from '../../src/lease/verify.ts'
import { Refusal } from '../../src/refusals.ts'
import { encode, testIssuer, testKey } from '../support/tokens.ts'
import { audiences, broker, claims, header, invalid, keys, now, refused, verify } from './harness.ts'

describe('the text of a token (D2, D13, D14)', () => {
  const valid = broker.token()
  const [head = '', body = '', signature = ''] = valid.split('.')
  const lastOf = (part: string, to: string) => part.slice(0, -1) + to
  const rows: [name: string, token: string, cause: Fault][] = [
    ['empty', '', 'not_compact_jws'],
    ['one segment', head, 'not_compact_jws'],
    ['two segments', `${head}.${body}`, 'not_compact_jws'],
    ['four segments', `${valid}.`, 'not_compact_jws'],
    ['an encrypted token', `${head}.a.b.c.d`, 'not_compact_jws'],
    ['no signature', `${head}.${body}.`, 'signature_missing'],
    ['no header', `.${body}.${signature}`, 'json_not_strict'],
    ['no payload', `${head}..${signature}`, 'json_not_strict'],
    ['padding', `${valid}==`, 'base64url_not_canonical'],
    ['padding in the header', `${head}=.${body}.${signature}`, 'base64url_not_canonical'],
    ['a space at the end', `${valid} `, 'base64url_not_canonical'],
    ['a newline inside', `${head}.\n${body}.${signature}`, 'base64url_not_canonical'],
    ['the standard alphabet', `${head}.${body}.${'+'.repeat(86)}`, 'base64url_not_canonical'],
    ['junk that decoders skip', `${head}.${body}!.${signature}`, 'base64url_not_canonical'],
    ['unused bits that are set', `${head}.${body}.${lastOf(signature, 'B')}`, 'base64url_not_canonical'],
    ['an impossible length', `${head}.${body}.${signature}AAA`, 'base64url_not_canonical'],
    ['letters that are not ASCII', `${head}.${body}.${signature}ä`, 'base64url_not_canonical'],
    ['more than 8 KiB', broker.token({ pad: 'x'.repeat(6000) }), 'token_too_large'],
    ['a header that is no object', broker.raw('[]', claims()), 'json_not_strict'],
    ['a payload that is no object', broker.raw(header, '"alice"'), 'json_not_strict'],
    ['a payload of null', broker.raw(header, 'null'), 'json_not_strict'],
    ['a payload that is no JSON', broker.raw(header, '{'), 'json_not_strict'],
    [
      'sub twice',
      broker.raw(header, JSON.stringify(claims()).replace('{', '{"sub":"bob",')),
      'json_not_strict',
    ],
    [
      'sub twice, once escaped',
      broker.raw(header, JSON.stringify(claims()).replace('{', '{"s\\u0075b":"bob",')),
      'json_not_strict',
    ],
    [
      'alg twice',
      broker.raw('{"alg":"none","typ":"at+jwt","alg":"ES256","kid":"test-1"}', claims()),
      'json_not_strict',
    ],
    [
      'a duplicate deep inside',
      broker.raw(header, JSON.stringify(claims()).replace('"stage"', '"stage":"execute","stage"')),
      'json_not_strict',
    ],
    [
      '__proto__',
      broker.raw(header, JSON.stringify(claims()).replace('{', '{"__proto__":{},')),
      'json_not_strict',
    ],
    ['a byte order mark', broker.raw(header, `\ufeff${JSON.stringify(claims())}`), 'json_not_strict'],
    [
      'an exp beyond 2^53',
      broker.raw(header, JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":1e300')),
      'json_not_strict',
    ],
    [
      'an infinite exp',
      broker.raw(header, JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":1e999')),
      'json_not_strict',
    ],
  ]
  test.each(rows)('%s is refused', async (_name, token, cause) => {
    expect(await refused(token)).toEqual(invalid(cause))
  })
})

describe('the header and the signature (D2 to D6)', () => {
  const own = broker.key
  const other = testKey(own.kid)
  const rsa = testKey(own.kid, 'RS256')
  const rows: [name: string, token: string, cause: Fault][] = [
    ...[
      'JWT',
      'jwt',
      'AT+JWT',
      'At+Jwt',
      'application/AT+JWT',
      'dpop+jwt',
      'statuslist+jwt',
      '',
      'at+jwt ',
      null,
      1,
      ['at+jwt'],
      undefined,
    ].map((typ): [string, string, Fault] => [
      `typ ${JSON.stringify(typ)}`,
      broker.token({}, { typ }),
      'typ_not_allowed',
    ]),
    ...[
      'none',
      'None',
      'NONE',
      'nOnE',
      'HS256',
      'hs256',
      'es256',
      'ES512',
      'RS1',
      'PS256',
      'EdDSA',
      '',
      'dir',
      null,
      256,
      ['ES256'],
      undefined,
    ].map((alg): [string, string, Fault] => [
      `alg ${JSON.stringify(alg)}`,
      broker.token({}, { alg }),
      'alg_not_allowed',
    ]),
    [
      'alg none without a signature',
      `${encode({ ...header, alg: 'none' })}.${encode(claims())}.`,
      'signature_missing',
    ],
    [
      'alg none with junk for a signature',
      `${encode({ ...header, alg: 'none' })}.${encode(claims())}.AA`,
      'alg_not_allowed',
    ],
    [
      'the public key as MAC secret',
      broker.raw({ ...header, alg: 'HS256' }, claims(), { ...own, alg: 'HS256' }),
      'alg_not_allowed',
    ],
    [
      'a MAC under the name of the right algorithm',
      broker.raw(header, claims(), { ...own, alg: 'HS256' }),
      'signature_invalid',
    ],
    ['another signature family', broker.raw({ ...header, alg: 'RS256' }, claims(), rsa), 'alg_not_allowed'],
    ['another key of the same kind', broker.raw(header, claims(), other), 'signature_invalid'],
    [
      'another payload',
      broker.token().replace(/\..*\./, `.${encode(claims({ sub: 'eve' }))}.`),
      'signature_invalid',
    ],
    ['a signature of zeros', broker.token().replace(/\.[^.]+$/, `.${'A'.repeat(86)}`), 'signature_invalid'],
    ['a short signature', broker.token().replace(/\.[^.]+$/, '.AAAA'), 'signature_invalid'],
    ['no kid', broker.token({}, { kid: undefined }), 'kid_not_plain'],
    ['an empty kid', broker.token({}, { kid: '' }), 'kid_not_plain'],
    ['a kid that is no string', broker.token({}, { kid: 1 }), 'kid_not_plain'],
    ['a kid with a line break', broker.token({}, { kid: 'test-1\r\nX: y' }), 'kid_not_plain'],
    ['a kid with a quote', broker.token({}, { kid: "' OR 1=1 --" }), 'kid_not_plain'],
    ['a kid with a NUL', broker.token({}, { kid: 'test-1\0' }), 'kid_not_plain'],
    ['an endless kid', broker.token({}, { kid: 'k'.repeat(201) }), 'kid_not_plain'],
    ['a kid that is a path', broker.token({}, { kid: '../../x' }), 'key_unknown'],
    ['a kid that is a URL', broker.token({}, { kid: 'https://evil.example/jwks' }), 'key_unknown'],
    ['a kid that is a member of every object', broker.token({}, { kid: '__proto__' }), 'key_unknown'],
    ...(
      [
        ['jku', 'https://evil.example/jwks'],
        ['x5u', 'https://evil.example/cert'],
        ['jwk', other.jwk],
        ['x5c', ['MIIB']],
        ['crit', ['exp']],
        ['crit', []],
        ['b64', false],
        ['b64', true],
        ['zip', 'DEF'],
        ['enc', 'A128GCM'],
        ['cty', 'JWT'],
        ['JKU', 'https://evil.example/jwks'],
      ] as const
    ).map(([name, value]): [string, string, Fault] => [
      `${name} in the header`,
      broker.token({}, { [name]: value }),
      'header_member_not_allowed',
    ]),
  ]
  test.each(rows)('%s is refused', async (_name, token, cause) => {
    expect(await refused(token)).toEqual(invalid(cause))
  })

  test.each(['HS256', 'none', 'dir'])(
    '%s stays refused where a profile allows it by mistake',
    async (alg) => {
      const token = broker.raw({ ...header, alg }, claims(), { ...own, alg: 'HS256' })
      expect(await refused(token, { algorithms: ['ES256', alg] })).toEqual(invalid('alg_not_allowed'))
    },
  )

  test('an algorithm that the issuer may use but the key may not is refused', async () => {
    const token = broker.token({}, { alg: 'ES384' })
    expect(await refused(token, { algorithms: ['ES256', 'ES384'] })).toEqual(invalid('key_unknown'))
  })

  test('a key of one accepted issuer does not sign for another', async () => {
    const other = testIssuer({ now, issuer: 'https://other.example', kid: 'other-1' })
    const verifier = createVerifier({ issuers: [broker.profile(), other.profile()], keys })
    const forged = other.raw({ ...header, kid: 'test-1' }, claims({ iss: other.issuer }), broker.key)
    const answer = await verifier.verify(forged, now, audiences)
    expect(answer).toMatchObject({ code: 'evidence_unavailable' })
  })
})

test('a refusal repeats nothing that the token says', async () => {
  const marker = 'Xq7Marker'
  const tokens = [
    broker.token({}, { kid: marker }),
    broker.token({}, { alg: marker }),
    broker.token({}, { [marker]: marker }),
    broker.token({ iss: marker }),
    broker.token({ aud: marker }),
    broker.token({ sub: `${marker}\n` }),
    broker.raw(header, `{"${marker}":1,"${marker}":2}`),
    marker,
  ]
  for (const token of tokens) {
    const answer = await verify(token)
    expect(answer).toBeInstanceOf(Refusal)
    expect(JSON.stringify(answer)).not.toContain(marker)
  }
})
