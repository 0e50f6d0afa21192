// What the gate answers itself, before anybody has authenticated: `OPTIONS *`, the end of a Max-Forwards
// chain, and the protected-resource metadata that a challenge points to. Pure; says nothing about routes.
import type { Backend } from './operation.ts'
import type { OwnAnswer } from './reply.ts'
import type { CleanRequest } from './stages.ts'

/** Everything public about the gate; compiled once. */
export interface PublicFacts {
  readonly publicOrigin: string
  readonly issuers: readonly string[]
  readonly backends: readonly Backend[]
  /** What DPoP proofs may be signed with. */
  readonly proofAlgorithms: readonly string[]
  /** Whether clients may present certificates, to which tokens can be bound. */
  readonly certificateBound: boolean
}

/** Well-known path of RFC 9728 §3; a backend's prefix follows it. */
export const metadataPath = '/.well-known/oauth-protected-resource'

const allow = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'

/** The local answer to `request`, or undefined: it goes on to route. */
export function answerLocally(request: CleanRequest, facts: PublicFacts): OwnAnswer | undefined {
  if (request.path === '*' || request.maxForwards === 0) {
    return { status: 204, headers: ['allow', allow], body: '' }
  }
  if (!request.path.startsWith(metadataPath)) return undefined
  if (request.method !== 'GET' && request.method !== 'HEAD') return undefined
  const document = metadataOf(request, facts)
  if (document === undefined) return undefined
  const body = JSON.stringify(document)
  const headers = ['content-type', 'application/json', 'content-length', String(Buffer.byteLength(body))]
  return { status: 200, headers: [...headers, 'cache-control', 'max-age=300'], body }
}

/** Where the metadata of the resource behind a request stands: for a backend that has none, that of the gate. */
export function metadataUrl(
  backend: Backend | undefined,
  { publicOrigin, backends }: Pick<PublicFacts, 'publicOrigin' | 'backends'>,
): string {
  const published = backend !== undefined && backends.includes(backend) ? backend.pathPrefix : undefined
  return `${publicOrigin}${metadataPath}${published ?? ''}`
}

function metadataOf(request: CleanRequest, facts: PublicFacts): object | undefined {
  const below = request.path.slice(metadataPath.length)
  if (below === '') return metadata(facts.publicOrigin, facts.backends, facts)
  const backend = facts.backends.find(({ pathPrefix }) => pathPrefix === below)
  if (backend === undefined) return undefined
  return { ...metadata(`${facts.publicOrigin}${below}`, [backend], facts), resource_name: backend.name }
}

function metadata(resource: string, backends: readonly Backend[], facts: PublicFacts): object {
  const { issuers, proofAlgorithms, certificateBound } = facts
  const boundOnly = backends.every(({ requireBinding }) => requireBinding === 'always')
  const scopes = backends.flatMap(({ name, operations }) => operations.map(({ verb }) => `${name}:${verb}`))
  return {
    resource,
    authorization_servers: issuers,
    bearer_methods_supported: ['header'],
    scopes_supported: [...new Set(scopes)],
    authorization_details_types_supported: ['lease'],
    // Members without anything to say are left out (RFC 9728 §3.2).
    ...(proofAlgorithms.length > 0 && { dpop_signing_alg_values_supported: proofAlgorithms }),
    ...(certificateBound && { tls_client_certificate_bound_access_tokens: true }),
    // A certificate would do as well, where clients may have one.
    ...(boundOnly && !certificateBound && { dpop_bound_access_tokens_required: true }),
  }
}
