// One call as it is sent. In: what `fetch` takes. Out: a request, and whether the very same bytes can be sent again.
import type { ApprovalOptions } from './waiting.ts'

/** What `fetch` takes, and how this call waits for a human where policy wants one. */
export interface LeaseInit extends RequestInit {
  /** Over the lease's own; false: do not wait, and throw `ApprovalRequired`. */
  readonly approval?: ApprovalOptions | false
}

export interface Call {
  readonly request: Request
  /** It can be sent more than once. */
  readonly repeatable: boolean
  /** Undefined: it does not wait for a human. */
  readonly waits: ApprovalOptions | undefined
}

/**
 * Reads what the caller gave. Throws `TypeError` for a stream as the body of a call that may have to be sent again. The
 * body of a `Request` is read whole then.
 */
export async function callOf(
  input: string | URL | Request,
  { approval, ...init }: LeaseInit,
  usual: ApprovalOptions | false,
): Promise<Call> {
  const waits = waitsOf(usual, approval)
  if (waits !== undefined && isStream(init.body)) {
    throw new TypeError(
      'a stream cannot be sent again once a human has approved: give its bytes, or say approval: false',
    )
  }
  const request = new Request(input, { ...init, redirect: 'manual' })
  const isOwnBody = init.body !== undefined && init.body !== null
  if (request.body === null || isOwnBody) return { request, repeatable: !isStream(init.body), waits }
  if (waits === undefined) return { request, repeatable: false, waits }
  const body = await request.arrayBuffer()
  return { request: new Request(request, { body }), repeatable: true, waits }
}

function waitsOf(
  usual: ApprovalOptions | false,
  own: ApprovalOptions | false | undefined,
): ApprovalOptions | undefined {
  if (own === false || (own === undefined && usual === false)) return undefined
  return { ...(usual !== false && usual), ...own }
}

function isStream(body: RequestInit['body']): boolean {
  return body instanceof ReadableStream || (typeof body === 'object' && Symbol.asyncIterator in (body ?? {}))
}
