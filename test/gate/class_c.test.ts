// Bad-input class C over raw sockets: header fields. What an agent says about itself, about the way its
// request came, or about another method has no effect and does not arrive.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  backendCredential,
  eventually,
  grantsFor,
  message,
  startTestGate,
  type TestGate,
} from '../support/gate.ts'
import { nothingFollows, type RefusedRow, refusedRows } from './matrix.ts'

let gate: TestGate
beforeAll(async () => {
  gate = await startTestGate({ crm: { forward_headers: ['x-tenant'] } })
})
afterAll(() => gate.close())

const malformed = { status: 400, code: 'malformed_request' } as const

function withFields(row: string, list: readonly (readonly string[])[]): RefusedRow[] {
  return list.map((fields) => ({
    row,
    name: fields.join(' | '),
    send: (token) => message({ token, fields }),
    ...malformed,
  }))
}

/** What the backend got of a request with these fields, as lower-case `name: value` lines. */
async function arriving(fields: readonly string[], lease: Record<string, unknown> = {}): Promise<string[]> {
  const seen = gate.backend.requests.length
  const { status } = await gate.ask(message({ token: gate.token({}, lease), fields }))
  expect(status).toBe(200)
  await eventually(() => gate.backend.requests.length > seen, 'the request')
  expect(gate.backend.requests).toHaveLength(seen + 1)
  const { rawHeaders, url } = gate.backend.requests[seen]!
  expect(url).toBe('/customers/9821')
  const lines: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    lines.push(`${rawHeaders[at]!.toLowerCase()}: ${rawHeaders[at + 1]}`)
  }
  return lines
}

/** The names of every field that a plain read brings to the backend. */
const usual = [
  'authorization',
  'connection',
  'decision-id',
  'forwarded',
  'host',
  'lease-agent',
  'lease-id',
  'lease-task',
  'lease-user',
  'traceparent',
  'via',
]

function namesOf(lines: readonly string[]): string[] {
  return lines.map((line) => line.slice(0, line.indexOf(':'))).toSorted()
}

describe('C1, C2, C5, C7 fields that do not arrive', () => {
  const dropped: readonly (readonly [row: string, ...fields: string[]])[] = [
    ['C1', 'X-Forwarded-Host: evil.example', 'X-Forwarded-For: 10.0.0.1', 'X-Forwarded-Proto: https'],
    ['C1', 'X-Original-URL: /admin', 'X-Rewrite-URL: /admin', 'X-Original-Host: evil.example'],
    ['C1', 'X-Real-IP: 10.0.0.1', 'X-Client-IP: 10.0.0.1', 'True-Client-IP: 10.0.0.1', 'Client-IP: 10.0.0.1'],
    ['C1', 'X-Forwarded-Prefix: /a', 'X-Forwarded-Port: 1', 'X-Forwarded-User: root', 'X-Host: evil.example'],
    ['C1', 'CF-Connecting-IP: 10.0.0.1', 'X-Envoy-Original-Path: /admin', 'X-Accel-Redirect: /admin'],
    ['C2', 'X_Forwarded_User: root', 'Lease_Id: lse_x', 'Lease_User: root'],
    ['C2', 'Content_Length: 5', 'Transfer_Encoding: chunked', 'X_TENANT: other', 'x-ten_ant: other'],
    [
      'C5',
      'Txn-Token: x',
      'Client-Cert: x',
      'Client-Cert-Chain: x',
      'X-Client-Cert: x',
      'SSL-Client-Verify: x',
    ],
    ['C7', 'Cookie: session=1', 'Cookie2: $Version=1', 'Proxy-Authorization: Basic eDp5', 'Set-Cookie: a=b'],
    ['C7', 'DPoP: x.y.z', 'Authentication-Info: x', 'Proxy-Connection: keep-alive', 'Keep-Alive: timeout=5'],
    ['C7', 'X-Api-Key: stolen', 'X-Auth-Token: stolen', 'TE: trailers', 'Origin: http://evil.example'],
  ]
  test.each(dropped)('%s %s and its like', async (_, ...fields) => {
    expect(namesOf(await arriving(fields))).toEqual(usual)
  })

  const replaced = [
    ['Lease-Id: lse_forged', 'lease-id'],
    ['Lease-User: root', 'lease-user'],
    ['LEASE-AGENT: other', 'lease-agent'],
    ['Decision-Id: dec_forged', 'decision-id'],
    ['Forwarded: for=10.0.0.1;host=evil.example', 'forwarded'],
  ] as const
  test.each(replaced)('C5 %s is replaced by our own', async (field, name) => {
    const lines = await arriving([field, field])
    expect(namesOf(lines)).toEqual(usual)
    expect(lines.filter((line) => line.startsWith(`${name}: `))).toHaveLength(1)
    expect(lines.join('\n')).not.toContain(field.slice(field.indexOf(': ') + 2))
  })

  test('C1 the authority that counts is the one in Host', async () => {
    const lines = await arriving(['X-Forwarded-Host: evil.example', 'Forwarded: host=evil.example'])
    expect(lines).toContain('forwarded: for=127.0.0.1;host="gate.example";proto=http')
  })

  test('C7 the credential of the backend stands once, whatever the agent sends beside its token', async () => {
    const lines = await arriving(['Proxy-Authorization: Bearer mine', 'X-Authorization: Bearer mine'])
    expect(lines.filter((line) => line.includes('earer'))).toEqual([
      `authorization: Bearer ${backendCredential}`,
    ])
  })

  test('a header that the configuration lets through arrives', async () => {
    expect(await arriving(['X-Tenant: north'])).toContain('x-tenant: north')
  })
})

describe('C3, C4, C6 fields that say two things', () => {
  refusedRows(
    () => gate,
    [
      ...withFields('C3', [
        ['Connection: close, Authorization'],
        ['Connection: authorization'],
        ['Connection: Keep-Alive', 'CONNECTION: AUTHORIZATION'],
        ['Connection: x-forwarded-for'],
        ['Connection: X-Forwarded-Anything'],
        ['Connection: Forwarded'],
        ['Connection: Host'],
        ['Connection: Content-Length'],
        ['Connection: Transfer-Encoding'],
        ['Connection: Content-Type'],
        ['Connection: Lease-Id'],
        ['Connection: lease-provenance'],
        ['Connection: Decision-Id'],
        ['Connection: Via'],
        ['Connection: Cookie'],
        ['Connection: DPoP'],
        ['Connection: traceparent'],
        ['Connection: Idempotency-Key'],
        ['Connection:\tauthorization , close'],
      ]),
      ...withFields('C4', [
        ['Lease-Provenance: trusted', 'Lease-Provenance: trusted'],
        ['Lease-Provenance: trusted', 'lease-provenance: untrusted'],
        ['Lease-Provenance: trusted, untrusted'],
        ['Lease-Provenance: trusted,trusted'],
        ['Lease-Provenance: Trusted'],
        ['Lease-Provenance:'],
        ['Content-Type: application/json', 'Content-Type: text/plain'],
        ['Idempotency-Key: a', 'IDEMPOTENCY-KEY: b'],
        ['Max-Forwards: 1', 'Max-Forwards: 2'],
      ]),
      ...withFields('C6', [
        ['X-HTTP-Method-Override: DELETE'],
        ['x-http-method-override: GET'],
        ['X-HTTP-Method: PUT'],
        ['X-Method-Override: DELETE'],
        ['X_HTTP_Method_Override: DELETE', 'X-HTTP-METHOD-OVERRIDE: DELETE'],
      ]),
    ],
  )

  const forms: readonly (readonly [string, readonly string[], string])[] = [
    ['a form field', ['Content-Type: application/x-www-form-urlencoded'], 'a=1&_method=DELETE'],
    ['an encoded form field', ['Content-Type: application/x-www-form-urlencoded'], '%5Fmethod=DELETE'],
    ['upper case', ['Content-Type: application/x-www-form-urlencoded; charset=utf-8'], '_METHOD=DELETE'],
    ['behind a semicolon', ['CONTENT-TYPE: Application/X-WWW-Form-URLEncoded'], 'a=1;_method=DELETE'],
    ['no media type', [], '_method=DELETE'],
    [
      'a form whose parameter names another type',
      ['Content-Type: application/x-www-form-urlencoded; a="multipart/"'],
      '_method=DELETE',
    ],
    [
      'two media types',
      ['Content-Type: application/x-www-form-urlencoded, multipart/x'],
      'a=1&_method=DELETE',
    ],
    ...['application/json', 'application/vnd.api+json', 'text/json'].map(
      (type) => [`a member of ${type}`, [`Content-Type: ${type}`], '{"a":1,"_method":"DELETE"}'] as const,
    ),
    ['an escaped member', ['Content-Type: application/json'], '{"\\u005fmethod":"DELETE"}'],
    ['a member of what is almost JSON', ['Content-Type: application/json'], "{'_method':'DELETE'}"],
    [
      'a multipart field',
      ['Content-Type: multipart/form-data; boundary=b'],
      '--b\r\nContent-Disposition: form-data; name="_method"\r\n\r\nDELETE\r\n--b--\r\n',
    ],
    [
      'an unquoted multipart field',
      ['Content-Type: Multipart/Form-Data; boundary=b'],
      '--b\r\ncontent-disposition: form-data; name=_method\r\n\r\nDELETE\r\n--b--\r\n',
    ],
  ]
  refusedRows(
    () => gate,
    forms.map(([name, fields, body]) => ({
      row: 'C6',
      name,
      send: (token) => message({ method: 'POST', target: '/crm/notes/1', token, fields, body }),
      ...malformed,
    })),
  )

  refusedRows(
    () => gate,
    [
      {
        row: 'C6',
        name: 'a form that is encoded, so that nobody can look into it',
        send: (token) =>
          message({
            method: 'POST',
            target: '/crm/notes/1',
            token,
            fields: ['Content-Type: application/x-www-form-urlencoded', 'Content-Encoding: gzip'],
            body: '_method=DELETE',
          }),
        ...malformed,
      },
    ],
  )

  const note = (type: string, body: string, token: string) =>
    message({ method: 'POST', target: '/crm/notes/1', token, fields: [`Content-Type: ${type}`], body })
  const inspectedBytes = 256 * 1024
  const filler = (bytes: number) => JSON.stringify('x'.repeat(bytes - 2))

  refusedRows(
    () => gate,
    [
      {
        row: 'C6',
        name: 'JSON too large to be looked into',
        send: (token) => note('application/json', filler(inspectedBytes + 1), token),
        status: 413,
        code: 'body_too_large',
        close: true,
      },
    ],
  )

  test.each([
    ['a form', 'application/x-www-form-urlencoded', 'a=1&method=2'],
    ['JSON', 'application/json', '{"payment_method": "card",  "a": {"_method": 1}}'],
    ['what is almost JSON', 'application/json', "{method: 'card',}"],
    ['the largest JSON that is looked into', 'application/json', filler(inspectedBytes)],
    ['what is not looked into, however large', 'application/octet-stream', filler(inspectedBytes + 1)],
  ])('C6 %s without an override arrives as it was sent', async (_, type, body) => {
    const seen = gate.backend.requests.length
    const { status } = await gate.ask(note(type, body, gate.token()))
    expect(status).toBe(200)
    expect(gate.backend.requests[seen]?.body.equals(Buffer.from(body))).toBe(true)
  })
})

describe('C8 line breaks in values that we build', () => {
  refusedRows(
    () => gate,
    [
      '/crm/customers/1%0d%0aX-A:%20b',
      '/crm/customers/1%0a',
      '/crm/customers/%0D',
      '/crm/customers/1%E2%80%A8%0A',
    ].map((target) => ({
      row: 'C8',
      name: `an id: ${target}`,
      send: () =>
        message({ target, token: gate.token({ authorization_details: grantsFor('crm', ['customer/*']) }) }),
      ...malformed,
    })),
  )

  refusedRows(
    () => gate,
    [
      ['user', (value: string) => gate.token({ sub: value })],
      ['task', (id: string) => gate.token({}, { task: { system: 'jira', id, purpose: 'a purpose' } })],
      ['lease id', (id: string) => gate.token({}, { id })],
    ].flatMap(([what, token]) =>
      ['a\r\nX-Evil: b', 'a\nb', 'a\rb', 'a\0b'].map((value) => ({
        row: 'C8',
        name: `${what} ${JSON.stringify(value)} in a signed token`,
        send: () => message({ token: (token as (value: string) => string)(value) }),
        status: 401,
        code: 'lease_invalid' as const,
      })),
    ),
  )

  test('other characters that a field cannot hold arrive percent-encoded', async () => {
    const task = { system: 'jira', id: 'SUP 4711 ü%', purpose: 'a purpose' }
    expect(await arriving([], { task })).toContain(`lease-task: ${encodeURIComponent('jira:SUP 4711 ü%')}`)
  })
})

nothingFollows(
  () => gate,
  () => gate.ask(message({ token: gate.token() })),
)
