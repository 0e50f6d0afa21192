// The happy path, black box: what the backend gets, what the agent gets, what the record says. A real gate,
// real sockets, the policies that ship.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RecordedRequest } from '../support/backends.ts'
import {
  authority,
  backendCredential,
  grantsFor,
  message,
  publicOrigin,
  startTestGate,
  type TestGate,
} from '../support/gate.ts'

let gate: TestGate
/** What the next answers of the backend are made of. */
let big: Buffer = Buffer.from('{"ok":true}')

beforeAll(async () => {
  gate = await startTestGate({
    answer: (_request, res) => {
      res.writeHead(200, {
        'content-type': 'application/json',
        'content-length': big.length,
        'set-cookie': 'session=backend',
        'lease-id': 'lse_of_the_backend',
        'x-plan': 'business',
      })
      res.end(big)
    },
  })
})
afterAll(() => gate.close())

const ulid = '[0-9A-HJKMNP-TV-Z]{26}'

/** Sends, and returns the answer with what the backend got. */
async function through(bytes: string) {
  const seen = gate.backend.requests.length
  const answer = await gate.ask(bytes)
  expect(gate.backend.requests).toHaveLength(seen + 1)
  return { answer, request: gate.backend.requests[seen] as RecordedRequest }
}

describe('a read that the lease covers', () => {
  test('reaches the backend with its own credential and says who acts, and nothing of the token', async () => {
    const token = gate.token({}, { id: 'lse_headers' })
    const { request } = await through(
      message({ token, fields: ['Accept: application/json', 'User-Agent: agent/1'] }),
    )
    const { traceparent, 'decision-id': decision, ...rest } = request.headers
    expect(rest).toEqual({
      host: new URL(gate.backend.url).host,
      connection: 'keep-alive',
      accept: 'application/json',
      'user-agent': 'agent/1',
      authorization: `Bearer ${backendCredential}`,
      'lease-id': 'lse_headers',
      'lease-user': 'alice@example.com',
      'lease-agent': 'agent:support-triage@3.2.1',
      'lease-task': 'jira:SUP-4711',
      via: '1.1 leasegate',
      forwarded: `for=127.0.0.1;host="${authority}";proto=http`,
    })
    expect(traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
    expect(decision).toMatch(new RegExp(`^dec_${ulid}$`))
    expect([request.method, request.url]).toEqual(['GET', '/customers/9821'])
    expect(request.rawHeaders.join('\n')).not.toContain(token)
  })

  test('comes back with the ids, without what is the backend’s alone', async () => {
    const { answer, request } = await through(message({ token: gate.token({}, { id: 'lse_reply' }) }))
    expect(answer.status).toBe(200)
    expect(answer.body.toString()).toBe('{"ok":true}')
    expect(answer.headers).toMatchObject({
      'lease-id': 'lse_reply',
      'decision-id': request.headers['decision-id'],
      'x-plan': 'business',
      via: '1.1 leasegate',
    })
    expect(answer.headers['set-cookie']).toBeUndefined()
  })

  test('keeps a trace context that the agent brought, and its state', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    const fields = [`Traceparent: ${traceparent}`, 'Tracestate: vendor=1']
    const before = gate.records().length
    const { request } = await through(message({ token: gate.token(), fields }))
    expect(request.headers).toMatchObject({ traceparent, tracestate: 'vendor=1' })
    const [record] = await gate.recordsAfter(before)
    expect(record?.trace_id).toBe(traceparent.slice(3, 35))
  })

  test.each(['00-0-0-01', 'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', 'x'])(
    'starts a trace anew for the invalid %s',
    async (traceparent) => {
      const fields = [`Traceparent: ${traceparent}`]
      const { request } = await through(message({ token: gate.token(), fields }))
      expect(request.headers.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
    },
  )

  test('as HEAD is judged as its GET and answered without a body', async () => {
    const before = gate.records().length
    using connection = await gate.connect()
    connection.write(message({ method: 'HEAD', token: gate.token() }))
    const answer = await connection.answer({ toHead: true })
    expect([answer.status, answer.headers['content-length']]).toEqual([200, '11'])
    // The connection is still in step.
    connection.write(message({ token: gate.token() }))
    expect((await connection.answer()).body.toString()).toBe('{"ok":true}')
    const [record] = await gate.recordsAfter(before)
    expect(record).toMatchObject({ what: { operation: 'GET /customers/{id}', method: 'HEAD', verb: 'read' } })
    expect(gate.backend.requests.at(-2)?.method).toBe('HEAD')
  })

  test('many on one connection each get a decision of their own', async () => {
    using connection = await gate.connect()
    const decisions = new Set<string | undefined>()
    const token = gate.token()
    for (let nth = 0; nth < 5; nth++) {
      connection.write(message({ token }))
      decisions.add((await connection.answer()).headers['decision-id'])
    }
    expect(decisions.size).toBe(5)
  })

  test('is refused to a lease that is too narrow, and the answer says which lease would do', async () => {
    const [customer] = grantsFor('crm', ['customer/1042'])
    const answer = await gate.ask(message({ token: gate.token({ authorization_details: [customer] }) }))
    expect(answer.status).toBe(403)
    expect(JSON.parse(answer.body.toString())).toMatchObject({
      type: 'urn:leasegate:problem:outside_lease',
      code: 'outside_lease',
      next_action: 'request',
      reasons: ['resource_not_in_lease'],
      decision_id: answer.headers['decision-id'],
      lease_id: answer.headers['lease-id'],
      authorization_details: [
        { type: 'lease', actions: ['read'], identifier: 'crm:customer/9821', sensitivity: 'confidential' },
      ],
    })
    expect(answer.headers['www-authenticate']).toContain('scope="crm:read"')
  })

  test('names a resource that only begins like the leased one: refused', async () => {
    const [customer] = grantsFor('crm', ['customer/9821'])
    const token = gate.token({ authorization_details: [customer] })
    const { status } = await gate.ask(message({ target: '/crm/customers/98210', token }))
    expect(status).toBe(403)
  })
})

describe('a write', () => {
  const note = { method: 'POST', target: '/crm/notes/7', fields: ['Content-Type: text/plain'], body: 'hello' }

  test('in a lease of stage execute arrives whole, with its intent recorded before it', async () => {
    const from = gate.audit().length
    const { answer, request } = await through(message({ ...note, token: gate.token() }))
    expect(answer.status).toBe(200)
    expect(request).toMatchObject({ method: 'POST', url: '/notes/7' })
    expect(request.headers).toMatchObject({ 'content-type': 'text/plain', 'content-length': '5' })
    expect(request.body.toString()).toBe('hello')
    await gate.recordsAfter(gate.records().length - 1)
    const lines = gate.audit().slice(from)
    expect(lines.map(({ outcome }) => (outcome as { ended: string }).ended)).toEqual(['intent', 'completed'])
    expect(new Set(lines.map(({ decision_id }) => decision_id)).size).toBe(1)
  })

  test.each([
    ['observe', 403],
    ['draft', 202],
  ])('in a lease of stage %s does not arrive', async (stage, expected) => {
    const seen = gate.backend.bytesSeen().length
    const { status } = await gate.ask(message({ ...note, token: gate.token({}, { stage }) }))
    expect(status).toBe(expected)
    expect(gate.backend.bytesSeen()).toHaveLength(seen)
  })

  test('of medium risk needs a statement that trusted content asked for it', async () => {
    const patch = { method: 'PATCH', body: '{"plan":"starter"}' }
    const json = 'Content-Type: application/json'
    const untold = await gate.ask(message({ ...patch, token: gate.token(), fields: [json] }))
    expect(JSON.parse(untold.body.toString())).toMatchObject({
      code: 'approval_required',
      reasons: ['untrusted_provenance'],
    })
    const { answer, request } = await through(
      message({ ...patch, token: gate.token(), fields: [json, 'Lease-Provenance: trusted'] }),
    )
    expect(answer.status).toBe(200)
    expect(request.body.toString()).toBe(patch.body)
    expect(request.headers['lease-provenance']).toBeUndefined()
  })

  test('with a JSON body that policy reads arrives byte for byte', async () => {
    const body = '{ "b": 1,\n  "a": [1.0, "\\u00e4"] }'
    const { request } = await through(
      message({ method: 'PUT', token: gate.token(), fields: ['Content-Type: application/json'], body }),
    )
    expect(request.body.toString()).toBe(body)
    expect(request.headers['content-length']).toBe(String(body.length))
  })

  const badJson = ['{"a":1,"a":2}', '{"a":1,"A":2}', '{"a":1', '{"a":1}x', '[1e999]', '"\\ud800"', '']
  test.each(badJson)('with the JSON body %j that can be read in two ways does not arrive', async (body) => {
    const seen = gate.backend.bytesSeen().length
    const fields = ['Content-Type: application/json']
    const bytes = message({
      method: 'PUT',
      token: gate.token(),
      fields: [...fields, 'Transfer-Encoding: chunked'],
    })
    const chunk = body === '' ? '1\r\n \r\n' : `${body.length.toString(16)}\r\n${body}\r\n`
    expect((await gate.ask(`${bytes}${chunk}0\r\n\r\n`)).status).toBe(400)
    expect(gate.backend.bytesSeen()).toHaveLength(seen)
  })

  test('of five million bytes streams both ways', async () => {
    const body = Buffer.alloc(5_000_000, 'abcdefghij')
    big = Buffer.alloc(5_000_000, '0123456789')
    const head = message({
      method: 'POST',
      target: '/crm/notes/8',
      token: gate.token(),
      fields: ['Content-Type: text/plain', `Content-Length: ${body.length}`],
    })
    const before = gate.records().length
    using connection = await gate.connect()
    connection.write(head)
    connection.write(body)
    const answer = await connection.answer()
    expect(answer.body.equals(big)).toBe(true)
    expect(gate.backend.requests.at(-1)?.body.equals(body)).toBe(true)
    const [record] = await gate.recordsAfter(before)
    expect(record?.outcome).toMatchObject({ bytes_in: 5_000_000, bytes_out: 5_000_000, ended: 'completed' })
    big = Buffer.from('{"ok":true}')
  })

  test('chunked arrives with the same bytes', async () => {
    const head = message({
      method: 'POST',
      target: '/crm/notes/9',
      token: gate.token(),
      fields: ['Content-Type: text/plain', 'Transfer-Encoding: chunked'],
    })
    const { request } = await through(`${head}3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n`)
    expect(request.body.toString()).toBe('abcdefg')
  })
})

describe('the record', () => {
  test('answers who, which agent, what, why, when and what happened', async () => {
    const before = gate.records().length
    const token = gate.token({ jti: 'ltk_record' }, { id: 'lse_record' })
    const { answer, request } = await through(message({ target: '/crm/customers/9821?view=full', token }))
    const [record] = await gate.recordsAfter(before)
    const { time, when, outcome, decision, trace_id, policy, ...rest } = record!
    expect(rest).toEqual({
      decision_id: answer.headers['decision-id'],
      lease_id: 'lse_record',
      approval: null,
      token_id: 'ltk_record',
      who: { user: 'alice@example.com' },
      agent: {
        id: 'agent:support-triage',
        version: '3.2.1',
        env: 'prod',
        instance: 'i-7c',
        profile: 'support',
      },
      why: { system: 'jira', id: 'SUP-4711', purpose: "answer the customer's billing question" },
      what: {
        backend: 'crm',
        operation: 'GET /customers/{id}',
        verb: 'read',
        sensitivity: 'confidential',
        risk: 'low',
        resource: 'crm:customer/9821',
        method: 'GET',
        path: '/crm/customers/9821',
        query: ['view'],
      },
      peer: { ip: '127.0.0.1' },
    })
    expect(Date.parse(time)).toBeGreaterThan(0)
    expect(when!.expires_at - when!.issued_at).toBe(300)
    expect(trace_id).toBe(String(request.headers.traceparent).slice(3, 35))
    expect(decision).toEqual({
      effect: 'allow',
      code: null,
      reasons: [],
      policy_digest: gate.running.policyDigest(),
      cause: null,
    })
    expect(outcome).toMatchObject({ status: 200, bytes_in: 0, bytes_out: 11, ended: 'completed' })
    expect(policy).toMatchObject({
      effect: 'allow',
      input: {
        lease: { id: 'lse_record' },
        request: { path: '/customers/9821', query: null, body: null },
      },
      redacted: ['request.query'],
      omitted: null,
    })
  })

  test('holds no token, no credential and no query value; neither does the log', async () => {
    const token = gate.token()
    await gate.ask(message({ target: '/crm/customers/9821?secret=qv_5511', token }))
    await gate.ask(message({ token: `${token}x` }))
    await gate.ask(message({ token, fields: ['X-Http-Method: PUT'] }))
    await gate.revoke({ lease: 'lse_unrelated', reason: 'for the record' })
    const written = gate.auditText() + gate.logText()
    const parts = token.split('.')
    for (const secret of [parts[1]!, parts[2]!, backendCredential, 'qv_5511', gate.operatorToken()]) {
      expect(written).not.toContain(secret)
    }
    expect(written).toContain('lse_unrelated')
  })
})

describe('what operators see', () => {
  test('metrics whose labels come from the configuration and the table of refusals alone', async () => {
    await gate.ask(message({ target: '/crm/customers/LABEL-1', token: gate.token() }))
    await gate.ask(message({ target: '/LABEL-2/x?y=LABEL-3', token: gate.token() }))
    await gate.ask(message({ token: gate.token({ sub: 'LABEL-4' }, { id: 'lse_LABEL-5' }) }))
    const text = await gate.metrics()
    expect(text).not.toContain('LABEL')
    expect(text).toMatch(
      /^leasegate_decisions_total\{backend="crm",verb="read",effect="allow",code="none"\} [1-9]/m,
    )
    expect(text).toMatch(
      /^leasegate_decisions_total\{backend="none",verb="none",effect="deny",code="operation_unmapped"\} [1-9]/m,
    )
    expect(text).toContain(`leasegate_policy_info{digest="${gate.running.policyDigest()}"} 1`)
    expect(text).toMatch(/^leasegate_audit_fault 0$/m)
  })

  test('one count per request', async () => {
    const total = async () => {
      const lines = (await gate.metrics()).matchAll(/^leasegate_decisions_total\{[^}]*\} (\d+)$/gm)
      return [...lines].reduce((sum, line) => sum + Number(line[1]), 0)
    }
    expect(await total()).toBe(gate.records().length)
  })

  test('the metadata of the protected resource, without a credential', async () => {
    const answer = await gate.ask(message({ target: '/.well-known/oauth-protected-resource/crm' }))
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.body.toString())).toMatchObject({
      resource: `${publicOrigin}/crm`,
      authorization_servers: ['https://broker.example'],
      scopes_supported: ['crm:read', 'crm:list', 'crm:update', 'crm:delete'],
    })
  })
})
