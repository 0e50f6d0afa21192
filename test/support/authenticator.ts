// An authenticator in software: one P-256 key, a counter, user verification as it is told. What it makes is what a
// browser sends (WebAuthn §5.1, §6): `none` attestation, ES256.
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'

export interface SoftwareAuthenticator {
  readonly id: string
  /** Signatures so far. */
  counter: number
  /** Whether it has verified its user. */
  verified: boolean
  /** `navigator.credentials.create`, as JSON. */
  create(options: unknown, origin: string): Record<string, unknown>
  /** `navigator.credentials.get`, as JSON. */
  get(options: unknown, origin: string): Record<string, unknown>
}

/** A new one, for the relying party `rpId`. */
export function softwareAuthenticator(rpId: string): SoftwareAuthenticator {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { x, y } = publicKey.export({ format: 'jwk' })
  const rawId = randomBytes(16)
  const id = rawId.toString('base64url')
  // COSE_Key: kty EC2, alg ES256, crv P-256 (RFC 9053 §7.1.1).
  const key = map([
    [integer(1), integer(2)],
    [integer(3), integer(-7)],
    [integer(-1), integer(1)],
    [integer(-2), bytes(Buffer.from(x!, 'base64url'))],
    [integer(-3), bytes(Buffer.from(y!, 'base64url'))],
  ])
  const data = (attested: Buffer) => {
    const counter = Buffer.alloc(4)
    counter.writeUInt32BE(authenticator.counter)
    const flags = 0x01 | (authenticator.verified ? 0x04 : 0) | (attested.length > 0 ? 0x40 : 0)
    return Buffer.concat([sha256(rpId), Buffer.from([flags]), counter, attested])
  }
  const authenticator: SoftwareAuthenticator = {
    id,
    counter: 0,
    verified: true,
    create(options, origin) {
      const length = Buffer.from([0, rawId.length])
      const authData = data(Buffer.concat([Buffer.alloc(16), length, rawId, key]))
      const attestation = map([
        [text('fmt'), text('none')],
        [text('attStmt'), map([])],
        [text('authData'), bytes(authData)],
      ])
      const response = {
        clientDataJSON: clientData('webauthn.create', options, origin).toString('base64url'),
        attestationObject: attestation.toString('base64url'),
        transports: ['internal'],
      }
      return { id, rawId: id, type: 'public-key', clientExtensionResults: {}, response }
    },
    get(options, origin) {
      authenticator.counter += 1
      const authenticatorData = data(Buffer.alloc(0))
      const client = clientData('webauthn.get', options, origin)
      const signature = sign('sha256', Buffer.concat([authenticatorData, sha256(client)]), privateKey)
      const response = {
        clientDataJSON: client.toString('base64url'),
        authenticatorData: authenticatorData.toString('base64url'),
        signature: signature.toString('base64url'),
      }
      return { id, rawId: id, type: 'public-key', clientExtensionResults: {}, response }
    },
  }
  return authenticator
}

function clientData(type: string, options: unknown, origin: string): Buffer {
  const { challenge } = options as { challenge: string }
  return Buffer.from(JSON.stringify({ type, challenge, origin, crossOrigin: false }))
}

function sha256(data: string | Buffer): Buffer {
  return createHash('sha256').update(data).digest()
}

// What of CBOR an authenticator needs (RFC 8949 §3): small integers, strings, maps.
function head(major: number, value: number): Buffer {
  if (value < 24) return Buffer.from([(major << 5) | value])
  if (value < 256) return Buffer.from([(major << 5) | 24, value])
  return Buffer.from([(major << 5) | 25, value >> 8, value & 0xff])
}
function integer(value: number): Buffer {
  return value < 0 ? head(1, -1 - value) : head(0, value)
}
function bytes(value: Buffer): Buffer {
  return Buffer.concat([head(2, value.length), value])
}
function text(value: string): Buffer {
  return Buffer.concat([head(3, value.length), Buffer.from(value)])
}
function map(entries: readonly (readonly [Buffer, Buffer])[]): Buffer {
  return Buffer.concat([head(5, entries.length), ...entries.flat()])
}
