// `GET /openapi.json`: every endpoint of this listener as an OpenAPI 3.1 document, made from the table that serves them
// and from what each says of itself. In: the endpoints. Out: one more. Open to everybody: it holds no state.
import { z } from 'zod'
import { type RefusalCode, refusals } from '../refusals.ts'
import { cookieOf } from './console/cookies.ts'
import { csrfHeader } from './console/same_site.ts'
import type { Endpoint } from './control.ts'
import { described } from './described/index.ts'
import type { Description } from './description.ts'

/** What the document is about. */
export interface About {
  /** What the endpoints are published under. */
  readonly url: string
  /** `console.url`. */
  readonly consoleUrl: string
  readonly version: string
}

/** The endpoint that describes `endpoints`, and itself. */
export function openApiEndpoint(endpoints: readonly Endpoint[], about: About): Endpoint {
  let text: string | undefined
  const own: Endpoint = {
    method: 'GET',
    path: '/openapi.json',
    access: 'open',
    takes: 'nothing',
    errors: 'problem',
    describe: { summary: 'This document', answer: z.looseObject({ openapi: z.literal('3.1.0') }) },
    serve: () => {
      text ??= JSON.stringify(openApiDocument([...endpoints, own], about))
      const headers = { 'content-type': 'application/json', 'cache-control': 'max-age=300' }
      return { status: 200, body: text, headers }
    },
  }
  return own
}

/** The document. Endpoints that nobody describes stand in it without a summary. */
export function openApiDocument(endpoints: readonly Endpoint[], { url, consoleUrl, version }: About) {
  const paths: Record<string, Record<string, object>> = {}
  for (const endpoint of endpoints) {
    paths[endpoint.path] ??= {}
    paths[endpoint.path]![endpoint.method.toLowerCase()] = operationOf(endpoint)
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Leasegate', version, description: 'The control listener. Times are seconds since 1970.' },
    servers: [{ url }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'An operator token.' },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: cookieOf(consoleUrl).name,
          description: `Somebody signed in; whatever is no GET shows csrf of GET /me in ${csrfHeader}.`,
        },
      },
      schemas: { Problem: problem },
    },
  }
}

/** What an endpoint says of itself, or what is said of it elsewhere. */
export function descriptionOf({ method, path, describe }: Endpoint): Description | undefined {
  return describe ?? described[`${method} ${path}`]
}

const problem = {
  type: 'object',
  description: 'RFC 9457, with a code of the table of refusals.',
  required: ['title', 'status', 'detail', 'code'],
  properties: {
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string' },
    reasons: { type: 'array', items: { type: 'string' } },
  },
}

function operationOf(endpoint: Endpoint): object {
  const { access } = endpoint
  const about = descriptionOf(endpoint)
  return {
    ...(about !== undefined && { summary: about.summary }),
    parameters: [...pathParameters(endpoint), ...queryParameters(about)],
    ...bodyOf(endpoint, about),
    responses: { ...answerOf(about), ...refusalsOf(endpoint, about) },
    security: access === 'open' ? [{}] : [{ token: [...access] }, { session: [...access] }],
  }
}

function pathParameters({ path }: Endpoint): object[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string', pattern: '^[\\w.~:@-]{1,200}$' },
  }))
}

function queryParameters(about: Description | undefined): object[] {
  return (about?.query ?? []).map(({ name, description }) => ({
    name,
    in: 'query',
    required: false,
    description,
    schema: { type: 'string' },
  }))
}

const bodyTypes = {
  json: 'application/json',
  form: 'application/x-www-form-urlencoded',
  jwt: 'application/secevent+jwt',
} as const

function bodyOf({ takes }: Endpoint, about: Description | undefined): object {
  if (takes === 'nothing') return {}
  const schema = about?.body === undefined ? {} : schemaOf(about.body, 'input')
  return { requestBody: { required: true, content: { [bodyTypes[takes]]: { schema } } } }
}

function answerOf({ answer, media = 'application/json', status = 200 }: Partial<Description> = {}): object {
  const schema = answer === undefined ? {} : { schema: schemaOf(answer, 'output') }
  const isEmpty = answer === undefined && media === 'application/json'
  return {
    [status]: { description: 'What was asked for.', ...(isEmpty ? {} : { content: { [media]: schema } }) },
  }
}

/** Whoever has to say who they are may be told these. */
const ofCallers: RefusalCode[] = [
  ...(['operator_required', 'sign_in_required', 'operator_not_allowed'] as const),
  ...(['cross_site', 'credential_ambiguous'] as const),
]

/** By status: one answer can have several codes. */
function refusalsOf({ access, errors }: Endpoint, about: Description | undefined): object {
  const always: RefusalCode[] = access === 'open' ? [] : ofCallers
  const codes = [...new Set([...always, ...(about?.errors ?? [])])]
  const byStatus = Map.groupBy(codes, (code) => refusals[code].status)
  const content =
    errors === 'problem'
      ? { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } }
      : { 'application/json': { schema: { type: 'object' } } }
  return Object.fromEntries(
    [...byStatus].map(([status, alike]) => [status, { description: alike.join(', '), content }]),
  )
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return rest
}
