// THE schema of an agent's file: every key and what it accepts. In: plain values of the file. Out: parsed
// values, still under the names of the file. Never: a secret; an agent's file holds public keys and names only.
import { createPublicKey } from 'node:crypto'
import { z } from 'zod'
import { algorithms as keyKinds } from '../lease/jose.ts'
import { list, oneOf, section, text } from './fields.ts'
import { parsePlain } from './scalars.ts'
import { algorithms } from './schema.ts'

/** RFC 7518 §6: members of private and symmetric keys. */
const secretMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

const name = parsePlain(
  /^[A-Za-z0-9][A-Za-z0-9._~:/-]{0,199}$/,
  'write letters, digits and . _ ~ : / - only, beginning with a letter or digit',
)
const word = parsePlain(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/, 'write letters, digits and . _ + - only')
const printable = parsePlain(/^[!-~]{1,255}$/, 'write printable characters without spaces')
const kid = parsePlain(/^[\w.~:@=+/-]{1,200}$/, 'write letters, digits and . _ ~ : @ = + / - only')
const san = parsePlain(
  /^(DNS|URI|email|IP Address):[!-~]{1,255}$/,
  'write the kind and the name, such as DNS:triage.agents.example',
)
const digest = parsePlain(
  /^[A-Za-z0-9_-]{43}$/,
  'write the SHA-256 of the certificate in DER form, as base64url without padding',
)

const jwk = z
  .looseObject(
    {
      kty: oneOf(['EC', 'RSA', 'OKP']),
      kid: text(kid, '"2026-11"'),
      alg: oneOf(algorithms),
      use: z.literal('sig', { error: 'write sig, or leave it out' }).optional(),
    },
    { error: 'write a public key as a JWK' },
  )
  .superRefine((key, context) => {
    const secrets = secretMembers.filter((member) => Object.hasOwn(key, member))
    for (const member of secrets) {
      const message = 'remove it: this is a part of a private key, which nobody but the agent may have'
      context.addIssue({ code: 'custom', path: [member], message })
    }
    if (secrets.length > 0) return
    const kind = keyKinds.get(key.alg)
    const fits = key.kty === kind?.kty && (kind?.crv === undefined || key.crv === kind.crv)
    if (!fits) context.addIssue({ code: 'custom', path: ['alg'], message: 'write the alg of such a key' })
    else if (!isPublicKey(key)) context.addIssue({ code: 'custom', message: 'this is no usable public key' })
  })

/** Whether the members make a key: a point on its curve, a modulus of 2048 bits at least. */
function isPublicKey(jwk: Readonly<Record<string, unknown>>): boolean {
  try {
    const key = createPublicKey({ key: { ...jwk }, format: 'jwk' })
    return (key.asymmetricKeyDetails?.modulusLength ?? 2048) >= 2048
  } catch {
    return false
  }
}

/** A JWK set (RFC 7517 §5), in an agent's file or in one beside it. */
export const jwksSchema = section({ keys: list(jwk).min(1, 'name at least one key') })

/** What the schema of a key set gives. */
export type ParsedJwks = z.output<typeof jwksSchema>

const methods = ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth', 'workload_jwt'] as const

const credential = z.discriminatedUnion(
  'method',
  [
    section({
      method: z.literal('private_key_jwt'),
      jwks: jwksSchema.optional(),
      jwks_file: text(
        parsePlain(
          /^(\.\/)?[A-Za-z0-9][\w.-]{0,100}\.json$/,
          'name a .json file in the same directory, such as ./support-triage.json',
        ),
        './support-triage.json',
      ).optional(),
    }),
    section({ method: z.literal('tls_client_auth'), san: text(san, '"DNS:triage.agents.example"') }),
    section({ method: z.literal('self_signed_tls_client_auth'), thumbprint: text(digest, 'xHb7…') }),
    section({
      method: z.literal('workload_jwt'),
      issuer: text(printable, 'https://kubernetes.default.svc'),
      subject: text(printable, '"system:serviceaccount:agents:support-triage"'),
    }),
  ],
  { error: `write method: one of ${methods.join(', ')}` },
)

/** A whole agent's file. */
export const agentSchema = section({
  client_id: text(name, 'support-triage'),
  agent: text(name, '"agent:support-triage"').optional(),
  version: text(word, '"3.2.1"'),
  env: text(word, 'prod'),
  profile: text(word, 'support'),
  tenant: text(word, 'acme').optional(),
  delegates_to: list(text(name, '"agent:billing-lookup"')).prefault([]),
  credentials: list(credential).min(
    1,
    'name at least one credential: without it the agent can prove nothing',
  ),
})

/** What the schema gives. */
export type ParsedAgent = z.output<typeof agentSchema>
