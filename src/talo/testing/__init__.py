"""What tests of Talo and of applications that use it are helped by: the contract that every store is held to."""
