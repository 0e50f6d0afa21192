// In: what a policy answered. Out: a text by which two answers are compared. Never for people.
import type { PolicyAnswer } from '../ports.ts'

/** Equal for answers with the same effect and the same reasons; these come sorted (evaluate.ts). */
export function answerText({ effect, reasons }: PolicyAnswer): string {
  return reasons.length === 0 ? effect : `${effect}${JSON.stringify(reasons)}`
}
