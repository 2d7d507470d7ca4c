const header = "Billing-Position";

const time = (position: string | null) => Number((position ?? "0").split("-")[0]);

/**
 * The newest position of the gateway's answers: a gateway with read replicas answers from one that is as far.
 *
 * Events of a subscription have no position, nor have answers while the primary does not tell any. After one, requests
 * have none either, and are answered by the primary, until an answer to such a request tells the next position.
 */
export class NewestPosition {
  #position: string | null = null;
  #events = 0;

  get headers(): Record<string, string> {
    return this.#position === null ? {} : { [header]: this.#position };
  }

  /** Returns a function to call with the response. */
  begin(): (response: Response) => void {
    const began = this.#events;
    return (response) => {
      const position = response.headers.get(header);
      if (position === null) this.noteEvent();
      else if (began === this.#events && time(position) > time(this.#position)) this.#position = position;
    };
  }

  noteEvent(): void {
    this.#position = null;
    this.#events += 1;
  }
}
