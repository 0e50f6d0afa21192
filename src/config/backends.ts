// In: one parsed backend of the file. Out: the `Backend` every step reads, with the defaults that depend on
// other fields. Never: leaves the backend's credential where a log line could print it.
import type { Backend, Operation } from '../enforce/operation.ts'
import { readingVerbs } from './operations.ts'
import { hideSecret } from './references.ts'
import type { ParsedConfig } from './schema.ts'

type ParsedBackend = ParsedConfig['backends'][string]
type ParsedOperation = ParsedBackend['operations'][number]

/** Puts a backend into the shape of the core. */
export function buildBackend(name: string, file: ParsedBackend, limits: ParsedConfig['limits']): Backend {
  return {
    name,
    origin: file.url.origin,
    basePath: file.url.basePath,
    pathPrefix: file.path_prefix,
    hosts: file.hosts,
    credential: file.credential && hideSecret({ ...file.credential }, 'value'),
    connectTimeoutMs: file.timeouts.connect,
    headersTimeoutMs: file.timeouts.headers,
    idleTimeoutMs: file.timeouts.idle,
    connections: file.connections,
    maxInFlight: file.max_in_flight,
    upgrade: file.upgrade,
    env: file.env,
    requireBinding: file.require_binding,
    forwardHeaders: file.forward_headers,
    operations: file.operations.map((operation) => buildOperation(operation, limits)),
  }
}

function buildOperation(file: ParsedOperation, limits: ParsedConfig['limits']): Operation {
  const { method, segments } = file.match
  // JSON bodies are held whole to be inspected, so they can never be larger than that.
  const defaultLimit = file.body === 'json' ? Math.min(limits.body, limits.inspected_body) : limits.body
  return {
    match: `${method} ${pathOf(segments)}`,
    method,
    segments,
    verb: file.verb,
    resource: file.resource,
    sensitivity: file.sensitivity,
    risk: file.risk ?? (readingVerbs.includes(file.verb) ? 'low' : 'medium'),
    body: file.body,
    bodyLimit: file.body_limit ?? defaultLimit,
    allowEncodedSlash: file.allow_encoded_slash,
    opaqueQuery: file.opaque_query,
    amount: file.amount,
    rate: file.rate,
    before: file.before && `${file.before.method} ${pathOf(file.before.segments)}`,
  }
}

/** The pattern of an operation as it is written. */
function pathOf(segments: Operation['segments']): string {
  return `/${segments.map((s) => ('literal' in s ? s.literal : `{${s.param}}`)).join('/')}`
}
