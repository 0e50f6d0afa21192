// TLS of a listener over real handshakes: whose certificate the other end holds, who vouches for it, what a
// resumed session still knows, and what a renewal changes.
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { type AddressInfo, connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ClientCertificate } from '../../src/broker/parties.ts'
import type { TlsFiles } from '../../src/config.ts'
import { certificateOf, createWebServer, renewCertificate } from '../../src/http/tls.ts'
import { type Pair, pairOf, writePair } from '../support/certificates.ts'

const dir = mkdtempSync(join(tmpdir(), 'leasegate-tls-'))
let authority: Pair
let server: Pair
let agent: Pair
let files: TlsFiles
const open: Server[] = []
const seen: (ClientCertificate | undefined)[] = []

beforeAll(async () => {
  authority = await pairOf({ name: 'authority.example', authority: true })
  server = await pairOf({ name: 'gate.example', by: authority })
  const uri = 'spiffe://corp.example/agent/triage'
  agent = await pairOf({ name: 'triage.agents.example', by: authority, uri })
  const clientCa = join(dir, 'authority.crt')
  writeFileSync(clientCa, authority.cert)
  files = { ...writePair(dir, 'gate', server), clientCa }
})
afterAll(() => {
  for (const each of open) each.close().closeAllConnections()
  rmSync(dir, { recursive: true })
})

async function serve(tls: TlsFiles = files): Promise<{ server: Server; port: number }> {
  const listening = createWebServer({}, tls, (req, res) => {
    seen.push(certificateOf(req.socket))
    res.end()
  })
  open.push(listening)
  listening.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  return { server: listening, port: (listening.address() as AddressInfo).port }
}

/** One request on a connection of its own; what the server saw of the client. */
async function shown(port: number, options: ConnectionOptions = {}): Promise<ClientCertificate | undefined> {
  const before = seen.length
  const socket = await secured(port, options)
  socket.write('GET / HTTP/1.1\r\nHost: gate.example\r\n\r\n')
  await once(socket, 'data')
  socket.destroy()
  return seen[before]
}

async function secured(port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({
    port,
    host: '127.0.0.1',
    servername: 'gate.example',
    ca: authority.cert,
    ...options,
  })
  await once(socket, 'secureConnect')
  return socket
}

const byAgent = () => ({ cert: agent.cert, key: agent.key })

describe('the certificate of a client', () => {
  test('is known by its thumbprint and its names, and trusted when client_ca vouches for it', async () => {
    const { port } = await serve()
    expect(await shown(port, byAgent())).toEqual({
      thumbprint: agent.thumbprint,
      trusted: true,
      names: ['DNS:triage.agents.example', 'URI:spiffe://corp.example/agent/triage'],
    })
  })

  test('is not there when the client shows none', async () => {
    const { port } = await serve()
    expect(await shown(port)).toBeUndefined()
  })

  test.each<[string, () => Promise<Pair>]>([
    ['that signs itself', () => pairOf({ name: 'triage.agents.example' })],
    [
      'of another authority',
      async () => pairOf({ name: 'triage.agents.example', by: await pairOf({ name: 'x', authority: true }) }),
    ],
    [
      'that has expired',
      () => pairOf({ name: 'triage.agents.example', by: authority, until: new Date(Date.now() - 60_000) }),
    ],
  ])('%s is known, and not trusted', async (_, make) => {
    const { port } = await serve()
    const pair = await make()
    expect(await shown(port, { cert: pair.cert, key: pair.key })).toMatchObject({
      thumbprint: pair.thumbprint,
      trusted: false,
    })
  })

  test('is trusted by nobody without client_ca, whatever the system trusts', async () => {
    const { port } = await serve({ ...files, clientCa: undefined })
    expect(await shown(port, byAgent())).toMatchObject({ thumbprint: agent.thumbprint, trusted: false })
  })

  test.each([
    ['a comma', 'urn:a, DNS:admin.agents.example'],
    ['a quote', 'urn:"a", DNS:admin.agents.example'],
    ['a backslash', 'urn:\\", DNS:admin.agents.example'],
  ])('with %s in a name has no further name', async (_, uri) => {
    const { port } = await serve()
    const { cert, key } = await pairOf({ name: 'triage.agents.example', by: authority, uri })
    const certificate = await shown(port, { cert, key })
    expect(certificate?.names).not.toContain('DNS:admin.agents.example')
    expect(certificate?.names.filter((name) => name.startsWith('DNS:admin'))).toEqual([])
  })

  test('of a plain connection is none', async () => {
    const plain = createWebServer({}, undefined, (req, res) => {
      seen.push(certificateOf(req.socket))
      res.end()
    })
    open.push(plain)
    plain.listen(0, '127.0.0.1')
    await once(plain, 'listening')
    const before = seen.length
    await fetch(`http://127.0.0.1:${(plain.address() as AddressInfo).port}/`)
    expect(seen.slice(before)).toEqual([undefined])
  })
})

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('a session of %s that is resumed', (version) => {
  /** The session that the server offers to resume. */
  async function sessionOf(port: number, options: ConnectionOptions): Promise<Buffer> {
    const socket = await secured(port, { ...options, minVersion: version, maxVersion: version })
    const offered = version === 'TLSv1.3' ? once(socket, 'session') : undefined
    socket.write('GET / HTTP/1.1\r\nHost: gate.example\r\n\r\n')
    await once(socket, 'data')
    const session = ((await offered)?.[0] as Buffer | undefined) ?? socket.getSession()
    socket.destroy()
    return session!
  }

  test('still knows the certificate that it began with, and no other', async () => {
    const { port } = await serve()
    const session = await sessionOf(port, byAgent())
    const other = await pairOf({ name: 'other.agents.example', by: authority })
    const before = seen.length
    const socket = await secured(port, {
      session,
      minVersion: version,
      maxVersion: version,
      cert: other.cert,
      key: other.key,
    })
    expect(socket.isSessionReused()).toBe(true)
    socket.write('GET / HTTP/1.1\r\nHost: gate.example\r\n\r\n')
    await once(socket, 'data')
    socket.destroy()
    expect(seen[before]).toEqual({
      thumbprint: agent.thumbprint,
      trusted: true,
      names: ['DNS:triage.agents.example', 'URI:spiffe://corp.example/agent/triage'],
    })
  })

  test('without a certificate gets none by resuming', async () => {
    const { port } = await serve()
    const session = await sessionOf(port, {})
    const range = { minVersion: version, maxVersion: version }
    expect(await shown(port, { session, ...range, ...byAgent() })).toBeUndefined()
  })

  test('is not resumed once the listener trusts somebody else', async () => {
    const { server: listening, port } = await serve()
    const session = await sessionOf(port, byAgent())
    renewCertificate(listening, { ...files, clientCa: undefined })
    const range = { minVersion: version, maxVersion: version }
    expect(await shown(port, { session, ...range, ...byAgent() })).toMatchObject({ trusted: false })
  })
})

describe('renewing a certificate', () => {
  test('new connections get the new one, those that stand go on', async () => {
    const own = { ...writePair(dir, 'renewed', server), clientCa: files.clientCa }
    const { server: listening, port } = await serve(own)
    const standing = await secured(port, {})
    const renewed = await pairOf({ name: 'gate.example', by: authority })
    writePair(dir, 'renewed', renewed)
    renewCertificate(listening, own)
    const fresh = await secured(port, byAgent())
    expect(fresh.getPeerX509Certificate()?.raw).not.toEqual(standing.getPeerX509Certificate()?.raw)
    expect(await shown(port, byAgent())).toMatchObject({ thumbprint: agent.thumbprint, trusted: true })
    standing.write('GET / HTTP/1.1\r\nHost: gate.example\r\n\r\n')
    expect(String(await once(standing, 'data'))).toMatch(/^HTTP\/1\.1 200/)
    standing.destroy()
    fresh.destroy()
  })

  test.each<[string, 'cert' | 'key', () => string]>([
    ['a key of another certificate', 'key', () => agent.key],
    ['a certificate that is none', 'cert', () => 'not a certificate'],
  ])('%s changes nothing', async (_, part, write) => {
    const own = { ...writePair(dir, 'broken', server), clientCa: files.clientCa }
    const { server: listening, port } = await serve(own)
    writeFileSync(own[part], write())
    expect(() => renewCertificate(listening, own)).toThrow()
    expect(await shown(port, byAgent())).toMatchObject({ thumbprint: agent.thumbprint, trusted: true })
  })

  test('a plain listener has none to renew', () => {
    expect(() => renewCertificate(createWebServer({}, undefined), undefined)).not.toThrow()
  })
})

test('nothing older than TLS 1.2 is spoken', async () => {
  const { port } = await serve()
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
  await expect(secured(port, old)).rejects.toThrow()
})

test('a client that speaks plain HTTP to it is hung up on', async () => {
  const { port } = await serve()
  const socket = connectTcp(port, '127.0.0.1')
  socket.on('error', () => {})
  let answer = ''
  socket.on('data', (chunk) => {
    answer += chunk.toString()
  })
  socket.write('GET / HTTP/1.1\r\nHost: gate.example\r\n\r\n')
  await once(socket, 'close')
  expect(answer).toBe('')
})
