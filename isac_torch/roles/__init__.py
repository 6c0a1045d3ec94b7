"""The choice of receive APs by a search, under the requirement that uniform power meets with the default roles."""
