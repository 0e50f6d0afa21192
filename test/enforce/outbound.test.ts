// What leaves for the backend: the bytes decided on and headers from an allow list, one test per row.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type OutboundFacts, outbound } from '../../src/enforce/outbound.ts'
import { receive } from '../../src/enforce/receive.ts'
import { isRefusal } from '../../src/refusals.ts'
import {
  type Ask,
  backendOf,
  committedOf,
  headOf,
  leaseOf,
  operationOf,
  outboundFacts,
  outboundOf,
  permitOf,
  rules,
  type Scene,
  valuesOf,
} from '../support/evidence.ts'

const headersOf = async (scene: Scene, facts?: OutboundFacts) => (await outboundOf(scene, {}, facts)).headers
const namesOf = (headers: readonly string[]) => headers.filter((_, at) => at % 2 === 0)
const sent = async (headers: readonly string[], name: string) =>
  valuesOf(await headersOf({ ask: { headers } }), name)

/** Everything that a backend may ever be sent, and who writes it. */
const fromAgent = [
  'accept',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-type',
  'idempotency-key',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-event-id',
  'pragma',
  'prefer',
  'range',
  'user-agent',
  'x-request-id',
]
const fromGate = [
  'host',
  'authorization',
  'lease-id',
  'lease-user',
  'lease-agent',
  'lease-task',
  'decision-id',
  'traceparent',
  'via',
  'forwarded',
]

test('a plain request carries what the gate says, once and in order', async () => {
  expect(await headersOf({})).toEqual([
    ...['host', '127.0.0.1:3000'],
    ...['authorization', 'Bearer backend-key'],
    ...['lease-id', 'lse_1'],
    ...['lease-user', 'alice@example.com'],
    ...['lease-agent', 'agent:support-triage@3.2.1'],
    ...['lease-task', 'jira:SUP-4711'],
    ...['decision-id', 'dec_1'],
    ...['traceparent', outboundFacts.traceparent],
    ...['via', '1.1 leasegate'],
    ...['forwarded', 'for=10.1.2.3;host="gate.example";proto=https'],
  ])
})

describe('what passes from the agent', () => {
  test.each(fromAgent)('%s, as sent', async (name) => {
    expect(await sent([name.toUpperCase(), 'Some value; q=1'], name)).toEqual(['Some value; q=1'])
  })

  test('tracestate passes with the trace it belongs to', async () => {
    const traceparent = ['Traceparent', outboundFacts.traceparent]
    expect(await sent([...traceparent, 'Tracestate', 'a=1'], 'tracestate')).toEqual(['a=1'])
    expect(await sent(['Tracestate', 'a=1'], 'tracestate')).toEqual([])
    expect(await sent(['Traceparent', 'nonsense', 'Tracestate', 'a=1'], 'tracestate')).toEqual([])
  })

  test('a header the backend is configured for', async () => {
    const headers = ['X-Tenant', 'acme', 'X-Other', '1']
    const passed = await headersOf({ ask: { headers }, backend: backendOf({ forwardHeaders: ['x-tenant'] }) })
    expect(valuesOf(passed, 'x-tenant')).toEqual(['acme'])
    expect(valuesOf(passed, 'x-other')).toEqual([])
  })

  test.each([
    ['C1 forwarding', 'X-Forwarded-For'],
    ['C1 forwarding, host', 'X-Forwarded-Host'],
    ['C1 an original URL', 'X-Original-URL'],
    ['C1 a rewrite', 'X-Rewrite-URL'],
    ['C1 an address', 'True-Client-IP'],
    ['C5 a certificate', 'Client-Cert'],
    ['C5 a transaction token', 'Txn-Token'],
    ['C5 the provenance', 'Lease-Provenance'],
    ['C7 a cookie', 'Cookie'],
    ['C7 the credential of a proxy', 'Proxy-Authorization'],
    ['C7 a proof', 'DPoP'],
    ['A16 an upgrade', 'Upgrade'],
    ['A16 settings of HTTP/2', 'HTTP2-Settings'],
    ['A16 a WebSocket key', 'Sec-WebSocket-Key'],
    ['hop by hop: TE', 'TE'],
    ['hop by hop: Trailer', 'Trailer'],
    ['hop by hop: Keep-Alive', 'Keep-Alive'],
    ['hop by hop: Connection', 'Connection'],
    ['an origin', 'Origin'],
    ['anything unknown', 'X-Anything'],
  ])('%s stays here', async (_, name) => {
    const value = name === 'Lease-Provenance' ? 'trusted' : name === 'Connection' ? 'close' : 'evil'
    expect(await sent([name, value], name.toLowerCase())).toEqual([])
  })

  test('what Connection nominates stays here, although it is on the list', async () => {
    expect(await sent(['Connection', 'X-Request-Id', 'X-Request-Id', '7'], 'x-request-id')).toEqual([])
  })
})

describe('what the gate says', () => {
  // A forged task is refused: test/gate/stated_task.test.ts.
  const replaced = fromGate.slice(1).filter((name) => name !== 'lease-task')
  test.each(replaced)('C5 %s of the agent is not believed', async (name) => {
    const headers = name === 'authorization' || name === 'via' ? [] : [name, 'forged']
    const values = valuesOf(await headersOf({ ask: { headers } }), name)
    expect(values).toHaveLength(1)
    expect(values[0]).not.toContain('forged')
  })

  test('the credential of the backend takes the place of the lease token', async () => {
    const ask: Ask = { headers: ['Authorization', 'Bearer lease-token'] }
    expect(valuesOf(await headersOf({ ask }), 'authorization')).toEqual(['Bearer backend-key'])
    const keyed = backendOf({
      credential: { header: 'x-api-key', value: 'k' },
      forwardHeaders: ['x-api-key'],
    })
    const headers = await headersOf({
      ask: { headers: [...ask.headers!, 'X-Api-Key', 'mine'] },
      backend: keyed,
    })
    expect(valuesOf(headers, 'x-api-key')).toEqual(['k'])
    expect(valuesOf(headers, 'authorization')).toEqual([])
    expect(
      valuesOf(await headersOf({ ask, backend: backendOf({ credential: undefined }) }), 'authorization'),
    ).toEqual([])
  })

  test('the Host is that of the backend', async () => {
    const headers = await headersOf({
      backend: backendOf({ origin: 'https://api.example:8443', basePath: '/v2' }),
    })
    expect(valuesOf(headers, 'host')).toEqual(['api.example:8443'])
  })

  test.each([
    ['a letter beyond ASCII', 'zoë', 'zo%C3%AB'],
    ['a percent sign, which would look encoded', '50%', '50%25'],
    ['a space', 'a b', 'a%20b'],
    ['C8 a line break', 'a\r\nX-Admin: 1', 'a%0D%0AX-Admin%3A%201'],
  ])('%s in a name is encoded', async (_, user, value) => {
    expect(valuesOf(await headersOf({ lease: leaseOf({ user }) }), 'lease-user')).toEqual([value])
  })

  test('Via goes on where the agent brought one', async () => {
    const headers = ['Via', '1.0 fred', 'via', '1.1 leasegate (x)']
    expect(await sent(headers, 'via')).toEqual(['1.0 fred, 1.1 leasegate (x), 1.1 leasegate'])
  })

  test.each([
    ['10.1.2.3', 'for=10.1.2.3;host="gate.example";proto=https'],
    ['2001:db8::1', 'for="[2001:db8::1]";host="gate.example";proto=https'],
    ['::ffff:10.1.2.3', 'for="[::ffff:10.1.2.3]";host="gate.example";proto=https'],
  ])('Forwarded names the peer %s as RFC 7239 §6 writes it', async (peer, forwarded) => {
    expect(valuesOf(await headersOf({ ask: { peer } }), 'forwarded')).toEqual([forwarded])
  })

  test('C1 Forwarded of the agent has no part in it', async () => {
    expect(await sent(['Forwarded', 'for=127.0.0.1', 'X-Forwarded-For', '127.0.0.1'], 'forwarded')).toEqual([
      'for=10.1.2.3;host="gate.example";proto=https',
    ])
  })

  test('Max-Forwards of OPTIONS is one less', async () => {
    const operations = [operationOf('OPTIONS /customers/{id}')]
    const ask: Ask = { method: 'OPTIONS', headers: ['Max-Forwards', '3'] }
    expect(valuesOf(await headersOf({ ask, backend: backendOf({ operations }) }), 'max-forwards')).toEqual([
      '2',
    ])
    expect(await sent(['Max-Forwards', '3'], 'max-forwards')).toEqual([])
  })
})

test('A16 the handshake passes only where the offer was accepted', async () => {
  const key = 'dGhlIHNhbXBsZSBub25jZQ=='
  const handshake = ['Upgrade', 'websocket', 'Connection', 'Upgrade', 'Sec-WebSocket-Version', '13']
  const more = ['Sec-WebSocket-Key', key, 'Sec-WebSocket-Protocol', 'chat', 'Origin', 'https://a.example']
  const scene: Scene = { ask: { headers: [...handshake, ...more] } }
  const accepted = await headersOf(scene, { ...outboundFacts, upgrade: true })
  expect(namesOf(accepted).slice(-2)).toEqual(['connection', 'upgrade'])
  expect(valuesOf(accepted, 'upgrade')).toEqual(['websocket'])
  expect(valuesOf(accepted, 'sec-websocket-key')).toEqual([key])
  expect(valuesOf(accepted, 'sec-websocket-protocol')).toEqual(['chat'])
  expect(valuesOf(accepted, 'origin')).toEqual(['https://a.example'])
  expect(namesOf(await headersOf(scene)).filter((name) => !fromGate.includes(name))).toEqual([])
})

describe('the body', () => {
  const post = (headers: readonly string[]): Scene => ({ ask: { method: 'PATCH', headers } })

  test('that streams keeps its length', async () => {
    const request = await outboundOf(post(['Content-Length', '0042']))
    expect(request.body).toEqual({ kind: 'stream' })
    expect(valuesOf(request.headers, 'content-length')).toEqual(['42'])
  })

  test('in chunks has none', async () => {
    const request = await outboundOf(post(['Transfer-Encoding', 'chunked']))
    expect(request.body).toEqual({ kind: 'stream' })
    expect(namesOf(request.headers)).not.toContain('content-length')
    expect(namesOf(request.headers)).not.toContain('transfer-encoding')
  })

  test('that was read goes out as the very bytes decided on', async () => {
    const bytes = Buffer.from('{"a":1}')
    const request = await outboundOf(post(['Content-Length', '7']), { bodyBytes: bytes })
    expect(request.body).toEqual({ kind: 'bytes', bytes })
    expect(namesOf(request.headers)).not.toContain('content-length')
  })

  test.each([[[]], [['Content-Length', '0']]])('that is not there is none: %j', async (headers) => {
    expect((await outboundOf(post(headers))).body).toEqual({ kind: 'none' })
  })
})

describe('the target', () => {
  test.each([
    ['/crm/customers/9821', '', '/customers/9821'],
    ['/crm/customers/9821', '/v2', '/v2/customers/9821'],
    ['/crm/customers/9821?', '/v2', '/v2/customers/9821?'],
    ['/crm/customers/9821?a=%C3%A9', '', '/customers/9821?a=%C3%A9'],
    ['http://gate.example/crm/customers/9821', '', '/customers/9821'],
  ])('%s with base path %j goes out as %s', async (target, basePath, path) => {
    expect((await outboundOf({ ask: { target }, backend: backendOf({ basePath }) })).path).toBe(path)
  })

  test('HEAD goes out as HEAD', async () => {
    expect((await outboundOf({ ask: { method: 'HEAD' } })).method).toBe('HEAD')
  })
})

test('whatever headers come in, nothing outside the list goes out, and what the gate says stands once', async () => {
  const spelt = (name: string) =>
    fc.constantFrom(name, name.toUpperCase(), name.replaceAll('-', '_'), `x-${name}`, `${name}-x`)
  const hostile = [
    'cookie',
    'x-forwarded-for',
    'x-original-url',
    'te',
    'trailer',
    'upgrade',
    'keep-alive',
    'origin',
  ]
  const names = fc.oneof(
    fc.constantFrom(...fromAgent, ...fromGate, ...hostile, 'tracestate', 'max-forwards').chain(spelt),
    fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9_-]{0,8}$/),
  )
  const fields = fc.array(
    fc.tuple(names, fc.constantFrom('forged', '1', 'a, b', outboundFacts.traceparent)),
    {
      maxLength: 8,
    },
  )
  const nominated = fc.array(names, { maxLength: 2 })
  let accepted = 0
  await fc.assert(
    fc.asyncProperty(fields, nominated, async (sentFields, connection) => {
      const headers = [...sentFields.flat(), 'Connection', ['close', ...connection].join(', ')]
      const ask: Ask = { headers }
      const request = receive(headOf(ask), rules)
      if (isRefusal(request) || request.statedTask !== undefined) return
      accepted += 1
      const out = (await outboundOf({ ask })).headers
      const passed = namesOf(out)
      expect(
        passed.filter(
          (name) => !fromAgent.includes(name) && !fromGate.includes(name) && name !== 'tracestate',
        ),
      ).toEqual([])
      for (const name of fromGate) expect(passed.filter((each) => each === name)).toEqual([name])
      for (const name of ['authorization', 'lease-id', 'lease-user', 'decision-id', 'forwarded', 'host']) {
        expect(valuesOf(out, name)[0]).not.toContain('forged')
      }
      const gone = connection.map((name) => name.toLowerCase())
      expect(passed.filter((name) => fromAgent.includes(name) && gone.includes(name))).toEqual([])
    }),
    { numRuns: 500 },
  )
  expect(accepted).toBeGreaterThan(50)
})

test('two requests of one lease do not share their headers', async () => {
  const lease = leaseOf()
  const one = outbound(await committedOf(permitOf({ lease })), outboundFacts)
  const other = outbound(await committedOf(permitOf({ lease })), { ...outboundFacts, decisionId: 'dec_2' })
  expect(valuesOf(one.headers, 'decision-id')).toEqual(['dec_1'])
  expect(valuesOf(other.headers, 'decision-id')).toEqual(['dec_2'])
})
