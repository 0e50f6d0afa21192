// TLS of a listener. In: paths of PEM files. Out: a server that speaks HTTP, over TLS where there are such files,
// and the client certificate of a connection. Never believes a certificate that comes in a header, never takes
// one for vouched for when no `client_ca` says who vouches.
import { hash, type X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import {
  createServer as createPlainServer,
  type RequestListener,
  type Server,
  type ServerOptions,
} from 'node:http'
import { createServer as createTlsServer, Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'
import type { ClientCertificate } from '../broker/parties.ts'
import type { TlsFiles } from '../config.ts'

/** What every TLS listener insists on. */
const tlsOptions = {
  minVersion: 'TLSv1.2',
  // Everybody is asked and nobody turned away: whose certificate is needed for what is decided per request, and
  // one that is registered by its thumbprint alone is vouched for by nobody (RFC 8705 §2.2).
  requestCert: true,
  rejectUnauthorized: false,
  handshakeTimeout: 10_000,
} as const

/** A server of plain HTTP, or of HTTPS when there are `files`. Throws when they cannot be used. */
export function createWebServer(
  options: ServerOptions,
  files: TlsFiles | undefined,
  listener?: RequestListener,
): Server {
  return files === undefined
    ? createPlainServer(options, listener)
    : createTlsServer({ ...options, ...tlsOptions, ...readPem(files) }, listener)
}

/**
 * Reads the files of a listener again; connections that stand keep what they have. Throws, and changes nothing,
 * when they cannot be used.
 */
export function renewCertificate(server: Server, files: TlsFiles | undefined): void {
  if (files === undefined || !(server instanceof TlsServer)) return
  const context = { ...readPem(files), minVersion: tlsOptions.minVersion }
  // Tried first: `setSecureContext` may leave a server between two contexts.
  createSecureContext(context)
  server.setSecureContext(context)
}

function readPem({ cert, key, clientCa }: TlsFiles) {
  return {
    cert: readFileSync(cert),
    key: readFileSync(key),
    // Not left out: then every public authority of the system could vouch for an agent.
    ca: clientCa === undefined ? [] : [readFileSync(clientCa)],
  }
}

interface Shown {
  readonly thumbprint: string
  readonly names: readonly string[]
  readonly vouchedFor: boolean
  /** Milliseconds since 1970. */
  readonly from: number
  readonly to: number
}

const shown = new WeakMap<TLSSocket, Shown>()

/** The certificate that the client proved to hold the key of in the handshake of `socket`; undefined: none. */
export function certificateOf(socket: Socket): ClientCertificate | undefined {
  if (!(socket instanceof TLSSocket)) return undefined
  const known = shown.get(socket) ?? readShown(socket)
  if (known === undefined) return undefined
  shown.set(socket, known)
  const { thumbprint, names, vouchedFor, from, to } = known
  const now = Date.now()
  return { thumbprint, names, trusted: vouchedFor && from <= now && now < to }
}

function readShown(socket: TLSSocket): Shown | undefined {
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return undefined
  return {
    thumbprint: hash('sha256', certificate.raw, 'base64url'),
    names: alternativeNames(certificate),
    vouchedFor: socket.authorized,
    from: Date.parse(certificate.validFrom),
    to: Date.parse(certificate.validTo),
  }
}

/** `DNS:…`, `URI:…` and so on. Node quotes a value that holds what could be taken for a separator. */
function alternativeNames({ subjectAltName }: X509Certificate): string[] {
  if (subjectAltName === undefined) return []
  const names: string[] = []
  const entry = /(?:^|, )([A-Za-z0-9 ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?=, |$)/y
  while (entry.lastIndex < subjectAltName.length) {
    const match = entry.exec(subjectAltName)
    // A list that is not understood to its end names nobody.
    if (match === null) return []
    const [, kind, value] = match
    names.push(`${kind}:${value!.startsWith('"') ? JSON.parse(value!) : value}`)
  }
  return names
}
