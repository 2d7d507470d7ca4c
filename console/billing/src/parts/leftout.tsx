import { address } from "../navigation";

/** What the address asks for and the gateway would refuse. */
export function LeftOut() {
  const { leftOut } = address.value;
  if (leftOut.length === 0) return null;
  return (
    <div class="leftout error" role="alert">
      <p>The address has filters that cannot be used. They are ignored:</p>
      <ul>
        {leftOut.map((one) => (
          <li key={one}>{one}</li>
        ))}
      </ul>
    </div>
  );
}
