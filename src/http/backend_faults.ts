// What the errors of undici and of Node's parser mean to the caller. In: an error. Out: a code of the table.
import type { RefusalCode } from '../refusals.ts'

/** By the error's code, or else its name. Any other: unreachable. */
const codes: Readonly<Record<string, RefusalCode>> = {
  UND_ERR_CONNECT_TIMEOUT: 'backend_timeout',
  UND_ERR_HEADERS_TIMEOUT: 'backend_timeout',
  UND_ERR_BODY_TIMEOUT: 'backend_timeout',
  UND_ERR_HEADERS_OVERFLOW: 'backend_malformed',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'backend_malformed',
  HTTPParserError: 'backend_malformed',
  ERR_INVALID_CHAR: 'backend_malformed',
  UND_ERR_CLOSED: 'overloaded',
  UND_ERR_DESTROYED: 'overloaded',
  UND_ERR_INVALID_ARG: 'internal_error',
  UND_ERR_NOT_SUPPORTED: 'internal_error',
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: 'internal_error',
}

/** `answering`: the backend had begun to answer, so what goes wrong is in its answer. */
export function backendFault(error: Error, code: string, answering: boolean): RefusalCode {
  if (!('code' in error)) return 'internal_error'
  if (code === 'UND_ERR_SOCKET' && answering) return 'backend_malformed'
  return codes[code] ?? codes[error.name] ?? 'backend_unreachable'
}
