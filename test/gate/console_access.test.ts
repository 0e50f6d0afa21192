// The control listener of a whole broker with its gate, before whoever comes: what each role may call, bodies and paths
// that are none, what every answer carries, and that no secret is left behind. An endpoint without a row fails.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { described } from '../../src/http/described/index.ts'
import { maxStreamsOfOne } from '../../src/http/events.ts'
import { readCustomer, startTestBroker, type TestBroker } from '../support/broker.ts'
import { Browser } from '../support/console.ts'
import { eventually } from '../support/gate.ts'
import { ask } from '../support/raw.ts'
import { startReceiver, type TestReceiver } from '../support/receiver.ts'
import type { Json } from '../support/tokens.ts'

const programs = ['approver', 'operator', 'auditor', 'admin', 'tenant'] as const
type Program = (typeof programs)[number]
/** `open`: anybody; `people`: nobody without a session. */
type Row = readonly Program[] | 'open' | 'people'

const readers: Row = ['operator', 'auditor', 'admin', 'tenant']
const changers: Row = ['operator', 'admin', 'tenant']
const lookers: Row = ['approver', 'operator', 'auditor', 'admin']
const deciders: Row = ['approver', 'admin']
const actionReaders: Row = ['approver', 'auditor', 'admin', 'tenant']
const all: Row = programs

/** Who may call what; a tenant's operator is an operator and an auditor. */
const table: Readonly<Record<string, Row>> = {
  'GET /openapi.json': 'open',
  'GET /jwks': 'open',
  'GET /statuslists/{list}': 'open',
  'POST /token': 'open',
  'POST /introspect': 'open',
  'POST /revoke': 'open',
  'POST /ssf/events': 'open',
  'POST /backchannel_logout': 'open',
  'GET /.well-known/oauth-authorization-server': 'open',
  'GET /console/sign-in': 'open',
  'GET /console/callback': 'open',
  'GET /console/link': 'open',
  'POST /console/link': 'open',
  'GET /me': 'open',
  'POST /sign-out': all,
  'POST /console/links': ['admin'],
  'GET /leases': readers,
  'GET /leases/{id}': readers,
  'POST /leases/{id}/revoke': changers,
  'POST /leases/{id}/suspend': changers,
  'POST /leases/{id}/resume': changers,
  'POST /leases/{id}/complete': changers,
  'POST /revocations': changers,
  'GET /decisions': lookers,
  'GET /decisions/{id}': lookers,
  'GET /decisions/{id}/explanation': lookers,
  'GET /events': lookers,
  'GET /agents': readers,
  'GET /status': ['operator', 'auditor', 'admin'],
  'GET /actions': actionReaders,
  'GET /actions/{id}': actionReaders,
  'GET /actions/{id}/before': actionReaders,
  'POST /actions/{id}/approve': deciders,
  'POST /actions/{id}/refuse': deciders,
  'POST /actions/{id}/withdraw': deciders,
  'POST /actions/{id}/challenge': 'people',
  'GET /repeats': all,
  'POST /repeats/{id}/revoke': ['approver', ...changers],
  'GET /approvers': ['approver', 'auditor', 'admin'],
  'GET /passkeys': 'people',
  'POST /passkeys/options': 'people',
  'POST /passkeys': 'people',
  'POST /passkeys/{id}/remove': 'people',
}

const webhookSecret = `whsec_${Buffer.alloc(32, 9).toString('base64')}`
const bodySecret = 'sk_live_4c1f_of_the_body'
let broker: TestBroker
let hook: TestReceiver
let tokens: Record<Program, string>
let held: { readonly id: string; readonly fingerprint: string }
let endpoints: readonly { readonly name: string; readonly takes: string | undefined }[]
/** What must not be found anywhere afterwards. */
const secrets: string[] = [webhookSecret, bodySecret]

beforeAll(async () => {
  hook = await startReceiver((response) => response.end())
  const named = (name: Program, more: Json) => ({ name, token_file: `./${name}.token`, ...more })
  broker = await startTestBroker({
    broker: { status_lists: true },
    config: {
      notify: [{ url: hook.url, secret: webhookSecret }],
      control: {
        operators: [
          named('approver', { roles: ['approver'], groups: ['crm-owners'] }),
          named('operator', { roles: ['operator'] }),
          named('auditor', { roles: ['auditor'] }),
          named('admin', { roles: ['admin'], groups: ['crm-owners'] }),
          named('tenant', { roles: ['operator', 'auditor'], tenant: 'acme' }),
        ],
      },
    },
  })
  const secretOf = (name: string) => readFileSync(join(broker.dir, `${name}.token`), 'utf8').trim()
  tokens = Object.fromEntries(programs.map((name) => [name, secretOf(name)])) as typeof tokens
  secrets.push(...Object.values(tokens), broker.operatorToken())
  held = await hold()
  const { paths } = (await (await call('GET', '/openapi.json')).json()) as {
    paths: Record<string, Record<string, { requestBody?: { content: object } }>>
  }
  endpoints = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { requestBody }]) => ({
      name: `${method.toUpperCase()} ${path}`,
      takes: requestBody && Object.keys(requestBody.content)[0],
    })),
  )
}, 90_000)
afterAll(async () => {
  await broker.close()
  hook.close()
})

function call(method: string, path: string, by?: Program, init: RequestInit = {}): Promise<Response> {
  const authorization: Record<string, string> =
    by === undefined ? {} : { authorization: `Bearer ${tokens[by]}` }
  return fetch(`${broker.brokerUrl}${path}`, {
    ...init,
    method,
    redirect: 'manual',
    headers: { ...authorization, ...(init.headers as Record<string, string>) },
  })
}

/** A held call with a body, as people are shown it. */
async function hold(): Promise<typeof held> {
  const constraints = { max_risk: 'high' }
  const detail = { ...readCustomer, actions: ['read', 'delete'], sensitivity: 'restricted', constraints }
  const asked = { stage: 'execute', authorization_details: JSON.stringify([detail]) }
  const lease = await broker.exchange(asked)
  const headers = { authorization: `Bearer ${lease.body.access_token}`, 'content-type': 'text/plain' }
  const url = `${broker.gateUrl}/crm/customers/9821`
  const answer = await fetch(url, { method: 'DELETE', headers, body: bodySecret })
  const { access_request } = (await answer.json()) as { access_request: { task: { id: string } } }
  const shown = await call('GET', `/actions/${access_request.task.id}`, 'approver')
  return (await shown.json()) as typeof held
}

/** A browser of somebody who came by a link. */
async function signedIn(body: object): Promise<Browser> {
  const headers = { 'content-type': 'application/json' }
  const made = await call('POST', '/console/links', 'admin', { headers, body: JSON.stringify(body) })
  const token = new URL(((await made.json()) as { url: string }).url).searchParams.get('token')!
  const browser = new Browser(broker.brokerUrl)
  await browser.post('/console/link', { token })
  await browser.learn()
  secrets.push(token, browser.csrf, browser.session!)
  return browser
}

const pathOf = (path: string) => path.replace(/\{\w+\}/, path.startsWith('/actions') ? held.id : 'unknown')
const split = (name: string) => name.split(' ') as [string, string]
/** Whether an answer says that this caller may not. */
async function isRefused(answer: Response): Promise<boolean> {
  if (answer.headers.get('content-type') === 'text/event-stream') {
    await answer.body?.cancel()
    return false
  }
  return (
    (answer.status === 401 || answer.status === 403) &&
    /operator_(required|not_allowed)/.test(await answer.text())
  )
}

describe('each endpoint', () => {
  test('has a row here, and each row an endpoint', () => {
    expect(endpoints.map(({ name }) => name).toSorted()).toEqual(Object.keys(table).toSorted())
  })

  test.each(Object.entries(table))('%s is for %s', async (name, who) => {
    const [method, path] = split(name)
    const headers = { 'content-type': 'application/json' }
    const body = method === 'POST' && { headers, body: '{"reason":"a test"}' }
    const refused: string[] = []
    for (const by of [undefined, ...programs]) {
      const answer = await call(method, pathOf(path), by, { ...body })
      expect(answer.status).not.toBe(500)
      if (await isRefused(answer)) refused.push(by ?? 'a stranger')
    }
    const may: readonly string[] = who === 'people' || who === 'open' ? [] : who
    const others = ['a stranger', ...programs].filter((each) => !may.includes(each))
    expect(refused).toEqual(who === 'open' ? [] : others)
  })

  test('of a person changes nothing without the value of their session, whatever a page sends', async () => {
    const kim = await signedIn({ user: 'kim@example.com', groups: ['crm-owners'], roles: ['admin'] })
    const orders = Object.entries(table).filter(([name, who]) => name.startsWith('POST') && who !== 'open')
    expect(orders.length).toBeGreaterThan(12)
    for (const [name] of orders) {
      const path = pathOf(split(name)[1])
      for (const headers of [{}, { 'leasegate-csrf': 'x'.repeat(43) }, { origin: 'https://evil.example' }]) {
        const csrf = 'origin' in headers ? { 'leasegate-csrf': kim.csrf } : {}
        const all = { 'content-type': 'application/json', ...headers, ...csrf }
        const answer = await kim.fetch(path, {
          method: 'POST',
          headers: all as Record<string, string>,
          body: '{"reason":"a test"}',
        })
        // Agents may call this one with their own token: there nobody's session is looked at.
        const code = name === 'POST /leases/{id}/complete' ? /operator_required|cross_site/ : /cross_site/
        expect([name, ((await answer.json()) as Json).code]).toEqual([name, expect.stringMatching(code)])
      }
    }
  })
})

describe('a body that is none', () => {
  const bad: readonly (readonly [string, string, string])[] = [
    ['nothing', 'application/json', ''],
    ['half of an object', 'application/json', '{"reason":'],
    ['a name that stands twice', 'application/json', '{"reason":"a","reason":"b"}'],
    ['a list', 'application/json', '[]'],
    ['null', 'application/json', 'null'],
    ['a prototype', 'application/json', '{"__proto__":{"fingerprint":"x"}}'],
    ['a form', 'application/x-www-form-urlencoded', 'fingerprint=x'],
    ['text', 'text/plain', '{"fingerprint":"x"}'],
    ['what is too deep', 'application/json', '['.repeat(8_000)],
  ]
  test.each(bad)('%s is refused wherever JSON is read', async (_, type, body) => {
    for (const { name, takes } of endpoints) {
      if (takes !== 'application/json' || table[name] === 'people') continue
      const answer = await call('POST', pathOf(split(name)[1]), 'admin', {
        headers: { 'content-type': type },
        body,
      })
      const known = name !== 'POST /repeats/{id}/revoke'
      expect([name, answer.status]).toEqual([name, known ? 400 : expect.toBeOneOf([400, 404])])
    }
  })

  test('of ten megabytes is cut off', async () => {
    const { port } = new URL(broker.brokerUrl)
    const head = `POST /actions/${held.id}/approve HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${tokens.admin}\r\n`
    const sized = 'Content-Type: application/json\r\nContent-Length: 10485760\r\n\r\n'
    const answer = await ask(Number(port), `${head}${sized}${'a'.repeat(200_000)}`)
    expect([answer.status, answer.headers.connection]).toEqual([413, 'close'])
  })
})

test.each([
  ...[
    '/actions/%00',
    '/actions/..%2fleases',
    "/actions/'or'1",
    '/actions/a;b',
    '/actions//',
    '//actions',
    '/%61ctions',
  ],
  ...[
    '/console/../leases',
    '/console/..%2f..%2fpackage.json',
    '/console/%2e%2e/index.html',
    '/console/confirm.ts',
  ],
  ...['http://evil.example/leases', `/actions/${'a'.repeat(201)}`, '/constructor', '/__proto__', '*'],
])('%s is no endpoint', async (target) => {
  const port = Number(new URL(broker.brokerUrl).port)
  const { status } = await ask(
    port,
    `GET ${target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${tokens.admin}\r\n\r\n`,
  )
  expect([400, 404]).toContain(status)
})

test.each(['HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE'])('%s does nothing', async (method) => {
  const port = Number(new URL(broker.brokerUrl).port)
  const head = `${method} /actions/${held.id}/approve HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${tokens.admin}\r\n`
  const answer = await ask(port, `${head}X-HTTP-Method-Override: POST\r\n\r\n`)
  expect([answer.status, answer.headers.allow]).toEqual([405, 'POST'])
})

test('every answer that somebody has to sign in for is kept by nobody, and shared with no site', async () => {
  const kim = await signedIn({ user: 'kim@example.com', groups: ['crm-owners'], roles: ['admin'] })
  for (const [name] of Object.entries(table).filter(([, who]) => who !== 'open')) {
    const [method, path] = split(name)
    if (name === 'POST /sign-out') continue
    const answer = method === 'GET' ? await kim.fetch(pathOf(path)) : await kim.order(pathOf(path), {})
    await answer.body?.cancel()
    expect([name, answer.headers.get('cache-control')]).toEqual([name, 'no-store'])
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
      'cross-origin-resource-policy': 'same-origin',
    })
    expect(answer.headers.get('access-control-allow-origin')).toBeNull()
  }
})

test('one person keeps some streams and no more; others still hear', async () => {
  const kim = await signedIn({ user: 'kim@example.com' })
  const lee = await signedIn({ user: 'lee@example.com' })
  const streams = await Promise.all(Array.from({ length: maxStreamsOfOne }, () => kim.fetch('/events')))
  expect(streams.every(({ status }) => status === 200)).toBe(true)
  const more = await kim.fetch('/events')
  expect([more.status, more.headers.get('retry-after')]).toEqual([503, '10'])
  const other = await lee.fetch('/events')
  expect(other.status).toBe(200)
  await Promise.all([...streams, other].map(({ body }) => body?.cancel()))
  await eventually(async () => {
    const again = await kim.fetch('/events')
    await again.body?.cancel()
    return again.status === 200
  }, 'a free place')
})

describe('openapi.json says what is answered', () => {
  test.each([
    ['/me', 'GET /me'],
    ['/actions?state=all&limit=1', 'GET /actions'],
    ['/actions/{held}', 'GET /actions/{id}'],
    ['/actions/{held}/before', 'GET /actions/{id}/before'],
    ['/repeats', 'GET /repeats'],
    ['/approvers', 'GET /approvers'],
    ['/passkeys', 'GET /passkeys'],
    ['/passkeys/options', 'POST /passkeys/options'],
  ])('to %s', async (path, name) => {
    const kim = await signedIn({ user: 'kim@example.com', groups: ['crm-owners'] })
    const real = path.replace('{held}', held.id)
    const answer = name.startsWith('GET') ? await kim.fetch(real) : await kim.order(real, {})
    expect(answer.status).toBe(200)
    const body: unknown = await answer.json()
    if (typeof body === 'object' && body !== null && 'challenge' in body) secrets.push(String(body.challenge))
    expect(described[name]!.answer!.safeParse(body).error?.issues ?? []).toEqual([])
  })

  test('to a program that asks who it is, and to orders', async () => {
    const me = await (await call('GET', '/me', 'auditor')).json()
    expect(described['GET /me']!.answer!.safeParse(me).error?.issues ?? []).toEqual([])
    const other = await hold()
    const order = { fingerprint: other.fingerprint, reason: 'the batch', repeat: { calls: 2, seconds: 60 } }
    const headers = { 'content-type': 'application/json' }
    const yes = await call('POST', `/actions/${other.id}/approve`, 'approver', {
      headers,
      body: JSON.stringify(order),
    })
    expect(described['POST /actions/{id}/approve']!.answer!.safeParse(await yes.json()).error).toBeUndefined()
    const repeats = (await (await call('GET', '/repeats', 'approver')).json()) as {
      repeats: { id: string }[]
    }
    expect(described['GET /repeats']!.answer!.safeParse(repeats).error).toBeUndefined()
    const body = JSON.stringify({ reason: 'enough' })
    const ended = await call('POST', `/repeats/${repeats.repeats[0]!.id}/revoke`, 'approver', {
      headers,
      body,
    })
    expect(
      described['POST /repeats/{id}/revoke']!.answer!.safeParse(await ended.json()).error,
    ).toBeUndefined()
  })

  test('and names the cookie that there is', async () => {
    const { components } = (await (await call('GET', '/openapi.json')).json()) as {
      components: { securitySchemes: { session: { name: string } } }
    }
    expect(components.securitySchemes.session.name).toBe('leasegate')
  })
})

// The last one: it looks at what all of them have left.
test('no secret is in the audit file, the log, the metrics, the state or a message', async () => {
  await eventually(() => hook.received.length > 0, 'a message')
  const data = join(broker.dir, 'data')
  const state = readdirSync(data).filter((name) => name.startsWith('leasegate.db'))
  expect(state).toContain('leasegate.db')
  const places = {
    audit: broker.auditText(),
    log: broker.logText(),
    metrics: await broker.metrics(),
    state: state.map((name) => readFileSync(join(data, name), 'latin1')).join(),
    messages: JSON.stringify(hook.received),
  }
  const found = Object.entries(places).flatMap(([place, text]) =>
    secrets.flatMap((secret, at) => (text.includes(secret) ? [`${place}: secret ${at}`] : [])),
  )
  expect(secrets.length).toBeGreaterThan(20)
  expect(found).toEqual([])
  expect(places.log).not.toContain('a bug on the control listener')
})
