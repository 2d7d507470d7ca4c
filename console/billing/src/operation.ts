/** A document of graphql/operations, with the types of its variables and result. */
export interface Operation<Result, Variables> {
  readonly name: string;
  readonly text: string;
  /** Never there: it carries the types. */
  readonly types?: (variables: Variables) => Result;
}
