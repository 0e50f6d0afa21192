// Bad-input class I over raw sockets: what a backend answers cannot desync the gate, steer the agent out of
// the backend, or give orders to a server before the gate.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ScriptedBackend, startScriptedBackend } from '../support/backends.ts'
import { message, publicOrigin, startTestGate, type TestGate } from '../support/gate.ts'

let backend: ScriptedBackend
let gate: TestGate
/** What the backend says to every request. */
let says = ''

beforeAll(async () => {
  backend = await startScriptedBackend(() => Buffer.from(says, 'latin1'))
  gate = await startTestGate({ crm: { url: backend.url } })
})
beforeEach(() => {
  says = ''
})
afterAll(async () => {
  await gate.close()
  await backend.close()
})

const answered = (...lines: string[]) => `HTTP/1.1 ${lines.join('\r\n')}\r\n\r\n`
const ask = (target = '/crm/customers/9821') => gate.ask(message({ target, token: gate.token() }))
const chunks = '2\r\nok\r\n0\r\n\r\n'

describe('I5 an answer whose end two parsers could see in two places', () => {
  test.each([
    ['a coding that only ends in chunked', ['Transfer-Encoding: xchunked', 'Connection: close'], chunks],
    ['a coding before chunked', ['Transfer-Encoding: gzip, chunked'], chunks],
    ['two codings', ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'], chunks],
    ['chunked in two lines', ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], chunks],
    ['another coding', ['Transfer-Encoding: identity', 'Connection: close'], 'ok'],
    ['a coding beside a length', ['Transfer-Encoding: chunked', 'Content-Length: 2'], chunks],
    ['a length beside a coding', ['Content-Length: 2', 'Transfer-Encoding: chunked'], chunks],
    ['two lengths', ['Content-Length: 2', 'Content-Length: 3'], 'ok'],
    ['a list of lengths', ['Content-Length: 2, 2'], 'ok'],
  ])('%s: 502, and the next caller gets an answer of its own', async (_, fields, body) => {
    says = answered('200 OK', ...fields) + body
    const { status, body: problem } = await ask()
    expect([status, JSON.parse(problem.toString()).code]).toEqual([502, 'backend_malformed'])
    says = `${answered('200 OK', 'Content-Length: 4')}next`
    expect((await ask()).body.toString()).toBe('next')
  })

  test('chunks alone are passed on', async () => {
    says = answered('200 OK', 'TRANSFER-ENCODING: Chunked') + chunks
    const { status, body } = await ask()
    expect([status, body.toString()]).toEqual([200, 'ok'])
  })
})

test('I3 a redirect by dots stays within the backend', async () => {
  says = answered('302 Found', 'Location: ../../hr/employees/1', 'Content-Length: 0')
  const { status, headers } = await ask()
  expect([status, headers.location]).toEqual([302, `${publicOrigin}/crm/hr/employees/1`])
})

test('I3 orders to a server before the gate are not passed on', async () => {
  const orders = ['X-Accel-Redirect: /internal', 'X-Sendfile: /etc/passwd', 'X-Reproxy-URL: http://a.example']
  const place = 'Content-Location: http://127.0.0.1:9/x'
  says = `${answered('200 OK', ...orders, place, 'X-Total: 1', 'Content-Length: 2')}ok`
  const { headers, body } = await ask()
  expect(body.toString()).toBe('ok')
  expect(Object.keys(headers).filter((name) => /^x-|^content-location/.test(name))).toEqual(['x-total'])
})
