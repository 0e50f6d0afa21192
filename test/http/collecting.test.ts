// An answer that is collected, over real sockets: kept up to a bound, read to its end beyond it, and told apart from
// one that broke off. Requests are genuine: decided, committed and made by the pipeline.
import { afterEach, describe, expect, test } from 'vitest'
import type { ByteMeter } from '../../src/enforce/meter.ts'
import type { Backend } from '../../src/enforce/operation.ts'
import { backendHead } from '../../src/enforce/reply.ts'
import type { Collected, Collection } from '../../src/http/collecting.ts'
import { createForwarder, type Forwarder } from '../../src/http/forward.ts'
import { refuse } from '../../src/refusals.ts'
import {
  startHttp,
  startRecordingBackend,
  startScriptedBackend,
  startSilentBackend,
  startSseBackend,
  type TestServer,
} from '../support/backends.ts'
import { backendOf, outboundFacts, outboundOf } from '../support/evidence.ts'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function kept<T extends TestServer>(starting: Promise<T>): Promise<T> {
  const server = await starting
  cleanups.push(() => server.close())
  return server
}

type Changes = Partial<Omit<Collection, 'done'>> & { readonly backend?: Partial<Backend> }

interface Collecting {
  readonly result: Promise<Collected>
  readonly handle: ReturnType<Forwarder['collect']>
}

/** PATCHes customer 9821 of the backend at `url`. */
async function collect(url: string, { backend: more, ...changes }: Changes = {}): Promise<Collecting> {
  const backend = backendOf({ origin: url, headersTimeoutMs: 5_000, ...more })
  const body = changes.body ?? Buffer.from('{"a":1}')
  const ask = {
    method: 'PATCH',
    headers: ['Content-Type', 'text/plain', 'Content-Length', String(body.byteLength)],
  }
  const outbound = await outboundOf({ ask, backend })
  const forwarder = createForwarder([backend])
  cleanups.push(() => forwarder.close(0))
  const { promise: result, resolve: done } = Promise.withResolvers<Collected>()
  const facts = { ...outboundFacts, leaseId: 'lse_1', scheme: 'Bearer', nonce: undefined } as const
  const reply = { ...facts, metadataUrl: 'https://gate.example/', publicOrigin: 'https://gate.example' }
  const handle = forwarder.collect(outbound, {
    body,
    bodyLimit: 1_000,
    keepBytes: 10,
    boundMs: 20_000,
    meter: undefined,
    replyHead: (status, raw) => backendHead(status, raw, outbound, reply),
    ...changes,
    done,
  })
  return { result, handle }
}

/** What came of it, in short. */
async function told(collecting: Collecting) {
  const { head, body, bytes, refusal, midway, unseen } = await collecting.result
  return {
    status: head?.status,
    body: body && Buffer.from(body).toString(),
    bytes,
    code: refusal?.code,
    midway,
    unseen,
  }
}

const answering = (text: string) => startHttp((req, res) => req.resume().on('end', () => res.end(text)))

describe('an answer', () => {
  test('is collected, and the backend gets the very bytes', async () => {
    const backend = await kept(startRecordingBackend((_, res) => res.writeHead(201).end('ten bytes!')))
    const { status, bytes, code, unseen } = await told(await collect(backend.url))
    expect({ status, bytes, code, unseen }).toEqual({
      status: 201,
      bytes: 10,
      code: undefined,
      unseen: false,
    })
    expect(backend.requests.map((each) => [each.url, each.body.toString()])).toEqual([
      ['/customers/9821', '{"a":1}'],
    ])
  })

  test('is kept byte for byte up to the bound', async () => {
    const backend = await kept(answering('ten bytes!'))
    expect(Buffer.from((await (await collect(backend.url)).result).body ?? '').toString()).toBe('ten bytes!')
  })

  test('beyond the bound is read to its end and not kept', async () => {
    const backend = await kept(answering('x'.repeat(500_000)))
    expect(await told(await collect(backend.url))).toMatchObject({
      status: 200,
      body: undefined,
      bytes: 500_000,
      code: undefined,
    })
  })

  test('without an end is cut, and its head stands', async () => {
    const backend = await kept(startSseBackend())
    expect(await told(await collect(backend.url, { boundMs: 300 }))).toMatchObject({
      status: 200,
      code: 'backend_timeout',
      body: undefined,
    })
    await backend.closed
  })

  test.each([
    ['breaks off', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfour', 200, 'backend_malformed'],
    [
      'refuses the credential of the gate',
      'HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n',
      undefined,
      'backend_unauthorized',
    ],
    [
      'leads elsewhere',
      'HTTP/1.1 302 Go\r\nlocation: http://evil.example/\r\ncontent-length: 0\r\n\r\n',
      undefined,
      'backend_malformed',
    ],
    ['is no HTTP', 'SSH-2.0-x\r\n\r\n', undefined, 'backend_malformed'],
    [
      'switches protocols',
      'HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
      undefined,
      'backend_malformed',
    ],
    [
      'has a status that there is none of',
      'HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n',
      undefined,
      'backend_malformed',
    ],
  ])('that %s is no whole one', async (_, bytes, status, code) => {
    const backend = await kept(
      startScriptedBackend((_nth, socket) => {
        socket.end(bytes)
        return undefined
      }),
    )
    expect(await told(await collect(backend.url))).toMatchObject({
      status,
      code,
      body: undefined,
      unseen: false,
    })
  })
})

describe('a request', () => {
  test('larger than its operation takes is not sent', async () => {
    const backend = await kept(startRecordingBackend())
    expect(await told(await collect(backend.url, { bodyLimit: 3 }))).toMatchObject({
      code: 'body_too_large',
      unseen: true,
    })
    expect(backend.bytesSeen()).toHaveLength(0)
  })

  test('for which there is no room is not sent', async () => {
    const backend = await kept(startRecordingBackend())
    expect(await told(await collect(backend.url, { backend: { maxInFlight: 0 } }))).toMatchObject({
      code: 'overloaded',
      unseen: true,
    })
    expect(backend.bytesSeen()).toHaveLength(0)
  })

  test('to a backend that is not there has not been seen by it', async () => {
    const backend = await startRecordingBackend()
    await backend.close()
    expect(await told(await collect(backend.url))).toMatchObject({
      code: 'backend_unreachable',
      unseen: true,
    })
  })

  test('that is ended while the backend thinks tells why, and is aborted', async () => {
    const backend = await kept(startSilentBackend())
    const collecting = await collect(backend.url)
    await backend.asked
    collecting.handle.end('revoked_midway', refuse('lease_revoked'))
    collecting.handle.end('expired_midway', refuse('lease_expired'))
    expect(await told(collecting)).toMatchObject({
      status: undefined,
      code: 'lease_revoked',
      midway: 'revoked_midway',
    })
  })
})

test('under a byte budget both bodies are paid for, and what cannot be is cut behind the head', async () => {
  const meter = (left: number): ByteMeter => ({
    take: (bytes) => {
      if (bytes > left) return false
      left -= bytes
      return true
    },
    more: async () => false,
    end: () => {},
    short: { detail: 'no bytes left' },
  })
  const backend = await kept(answering('ten bytes!'))
  expect(await told(await collect(backend.url, { meter: meter(17) }))).toMatchObject({
    status: 200,
    code: undefined,
  })
  expect(await told(await collect(backend.url, { meter: meter(16) }))).toMatchObject({
    status: 200,
    code: 'budget_exhausted',
    midway: 'budget_midway',
    body: undefined,
  })
  expect(await told(await collect(backend.url, { meter: meter(6) }))).toMatchObject({
    code: 'budget_exhausted',
    unseen: true,
  })
})
