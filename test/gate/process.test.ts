// A gate as a process of its own: told to stop, killed, or without room on its disk. What it acknowledged
// stands, what is under way may finish, and what could not be recorded does not happen.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Workplace } from '../cli/process.ts'
import {
  type RecordingBackend,
  type SseBackend,
  startRecordingBackend,
  startSseBackend,
} from '../support/backends.ts'
import { eventually } from '../support/gate.ts'
import { ask, RawConnection } from '../support/raw.ts'

let backend: RecordingBackend
let streams: SseBackend
let place: Workplace
/** Milliseconds until the backend answers. */
let delayMs = 0
beforeAll(async () => {
  backend = await startRecordingBackend((_request, res) => {
    setTimeout(() => res.end('{"ok":true}'), delayMs)
  })
  streams = await startSseBackend()
})
afterAll(() => Promise.all([backend.close(), streams.close()]))
beforeEach(async () => {
  delayMs = 0
  place = await Workplace.open()
  await place.compilePolicy()
  place.configure(backend.url)
})
afterEach(() => place[Symbol.asyncDispose]())

const auditFile = () => place.path('data/audit.jsonl')

function request(token: string, method = 'GET', body = ''): string {
  const framing = body === '' ? '' : `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`
  return (
    `${method} /crm/customers/9821 HTTP/1.1\r\nHost: 127.0.0.1:${place.ports.proxy}\r\n` +
    `Authorization: Bearer ${token}\r\n${framing}\r\n${body}`
  )
}

async function call(...args: Parameters<typeof request>) {
  const { status, headers, body } = await ask(place.ports.proxy, request(...args))
  return { status, headers, code: (JSON.parse(body.toString()) as { code?: string }).code }
}

function revoke(lease: string): Promise<Response> {
  const token = readFileSync(place.path('data/control.token'), 'utf8').trim()
  return fetch(`http://127.0.0.1:${place.ports.control}/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ lease, reason: 'leaked' }),
  })
}

describe('killed', () => {
  test('right after a revocation was acknowledged: revoked after the restart', async () => {
    const first = await place.serve()
    const { token, lease } = await place.issue()
    expect((await call(token)).status).toBe(200)
    expect((await revoke(lease.id)).status).toBe(201)
    await first.stop('SIGKILL')

    await place.serve()
    expect(await call(token)).toMatchObject({ status: 401, code: 'lease_revoked' })
  })

  test('under way: what was recorded before is whole, and records go on after it', async () => {
    const first = await place.serve()
    const { token } = await place.issue()
    expect((await call(token, 'PATCH', '{}')).status).toBe(200)
    await eventually(() => readFileSync(auditFile(), 'utf8').includes('"completed"'), 'the record')
    await first.stop('SIGKILL')
    writeFileSync(auditFile(), '{"cut', { flag: 'a' })

    await place.serve()
    expect((await call(token)).status).toBe(200)
    await eventually(() => readFileSync(auditFile(), 'utf8').endsWith('}\n'), 'the record')
    const lines = readFileSync(auditFile(), 'utf8').trimEnd().split('\n')
    const ends = lines.map((line) => (line.startsWith('{"cut') ? 'cut' : JSON.parse(line).outcome?.ended))
    expect(ends).toEqual(['intent', 'completed', 'cut', 'completed'])
  })
})

describe('told to stop', () => {
  test('finishes what is under way, takes nothing new, and ends with 0', async () => {
    const gate = await place.serve()
    const { token } = await place.issue()
    delayMs = 600
    using connection = await RawConnection.open(place.ports.proxy)
    const seen = backend.requests.length
    connection.write(request(token))
    await eventually(() => backend.requests.length > seen, 'the call at the backend')
    const stopped = gate.stop('SIGTERM')
    await eventually(async () => {
      try {
        using late = await RawConnection.open(place.ports.proxy)
        late.socket.destroy()
        return false
      } catch {
        return true
      }
    }, 'the end of accepting')
    expect((await connection.answer()).status).toBe(200)
    expect(await stopped).toBe(0)
    expect(readFileSync(auditFile(), 'utf8')).toContain('"ended":"completed"')
  })

  test('does not wait for a stream beyond its bound, and records how that ended', async () => {
    place.configure(streams.url, { limits: { drain: '300ms' } })
    const gate = await place.serve()
    const { token } = await place.issue()
    using connection = await RawConnection.open(place.ports.proxy)
    connection.write(request(token))
    await connection.received('\r\n\r\n')
    expect(await gate.stop('SIGTERM')).toBe(0)
    await connection.closed()
    const records = readFileSync(auditFile(), 'utf8').trimEnd().split('\n')
    expect(records.map((line) => JSON.parse(line).outcome?.status)).toEqual([200])
  })

  test('while idle connections are open: does not wait for them', async () => {
    const gate = await place.serve()
    const { token } = await place.issue()
    using connection = await RawConnection.open(place.ports.proxy)
    connection.write(request(token))
    expect((await connection.answer()).status).toBe(200)
    expect(await gate.stop('SIGINT')).toBe(0)
    await connection.closed()
  })
})

describe('without room for records', () => {
  /** The kernel refuses to let a file grow beyond this: EFBIG where a full disk says ENOSPC. */
  const blocks = 512

  async function withoutRoom(reads: 'refuse' | 'allow') {
    place.configure(backend.url, { audit: { file: './data/audit.jsonl', reads_on_fault: reads } })
    place.write('data/audit.jsonl', `${JSON.stringify({ pad: 'x'.repeat(blocks * 1024 - 30) })}\n`)
    await place.serve({ limits: `-f ${blocks}` })
    return (await place.issue()).token
  }

  test('writes and reads are refused before they happen, operators are told, and it recovers', async () => {
    const token = await withoutRoom('refuse')
    const seen = backend.bytesSeen().length
    const refused = { status: 503, code: 'audit_unavailable' }
    const first = await call(token, 'PATCH', '{}')
    expect(first).toMatchObject({ ...refused, headers: { 'retry-after': expect.stringMatching(/^[1-9]/) } })
    expect(await call(token, 'PATCH', '{}')).toMatchObject(refused)
    expect(await call(token)).toMatchObject(refused)
    expect(backend.bytesSeen()).toHaveLength(seen)
    expect(await (await place.get('/metrics')).text()).toMatch(/^leasegate_audit_fault 1$/m)
    const ready = await place.get('/readyz')
    expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('EFBIG')])

    renameSync(auditFile(), `${auditFile()}.1`)
    await eventually(async () => (await place.get('/readyz')).status === 200, 'readiness')
    expect((await call(token, 'PATCH', '{}')).status).toBe(200)
    const lines = readFileSync(auditFile(), 'utf8').trimEnd().split('\n')
    const kept = lines
      .map((line) => JSON.parse(line))
      .filter(({ decision }) => decision?.code === refused.code)
    expect(kept).toHaveLength(3)
  })

  test('reads of low risk go on where the configuration says so, writes never', async () => {
    const token = await withoutRoom('allow')
    expect(await call(token, 'PATCH', '{}')).toMatchObject({ status: 503, code: 'audit_unavailable' })
    expect((await call(token)).status).toBe(200)
    expect(await call(token, 'PATCH', '{}')).toMatchObject({ status: 503, code: 'audit_unavailable' })
  })
})
